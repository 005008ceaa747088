"""Files, folders and globs of a command line become images, each once, or what is wrong is named."""

import shutil
from pathlib import Path

import pytest

from visiontasks.errors import InputError, MissingFileError
from visiontasks.predict.image_files import PassedOver, check_picture_folder, find_images
from visiontasks.runs.folder import split_runs


@pytest.fixture
def photos(in_tmp: Path) -> Path:
    for name in ("b10.jpg", "b9.JPG", "notes.txt", ".hidden.png", "deep/er/a.png", "[1].png", "strange.dat"):
        path = in_tmp / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return in_tmp / "photos"


def found(*names: str) -> list[str]:
    return [image.path for image in find_images(names)]


def test_a_folder_is_searched_for_images_at_any_depth_in_natural_order(photos: Path) -> None:
    assert found("photos") == ["photos/[1].png", "photos/b9.JPG", "photos/b10.jpg", "photos/deep/er/a.png"]
    assert [str(image.below) for image in find_images(["photos"])] == ["[1].png", "b9.JPG", "b10.jpg", "deep/er/a.png"]


def test_a_file_is_taken_whatever_its_name(photos: Path) -> None:
    assert found("photos/strange.dat", "photos/[1].png") == ["photos/strange.dat", "photos/[1].png"]
    assert find_images(["photos/deep/er/a.png"])[0].below == Path("a.png")


def test_a_glob_takes_images_and_the_folders_that_it_names(photos: Path) -> None:
    assert found("photos/b*") == ["photos/b9.JPG", "photos/b10.jpg"]
    assert found("photos/d*") == ["photos/deep/er/a.png"]
    assert found("**/a.png") == ["photos/deep/er/a.png"]


def test_what_is_named_twice_comes_once(photos: Path) -> None:
    assert found("photos/b10.jpg", "photos", "photos/*.jpg")[:2] == ["photos/b10.jpg", "photos/[1].png"]
    assert len(found("photos/b10.jpg", "photos", "photos/*.jpg")) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg: no such file or folder"),
        ("photos/*.webp", r"photos/\*.webp: matches no file"),
        (
            "photos/*.txt",
            r"no images in photos/\*.txt; expected .* \.bmp .*\.gif .*\(passed over: 1 file \(\.txt 1\)\)",
        ),
        ("empty", "no images in empty; expected"),
    ],
)
def test_what_names_no_image_is_said(name: str, message: str, photos: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(MissingFileError, match=message):
        find_images(["photos", name])


def test_pictures_are_not_written_to_where_images_are(photos: Path) -> None:
    images = find_images(["photos"])
    check_picture_folder(Path("drawn"), images, "--draw")
    check_picture_folder(Path("photos/drawn"), images, "--draw")
    for folder in ("photos", "photos/deep", "."):
        with pytest.raises(
            InputError, match=rf"--draw {folder}: holds images that are to be read \(.*\); give another"
        ):
            check_picture_folder(Path(folder), images, "--draw")


def test_a_folder_of_links_to_images_is_not_written_into(photos: Path, in_tmp: Path) -> None:
    Path("linked").mkdir()
    Path("linked/a.jpg").symlink_to(photos / "b10.jpg")
    images = find_images(["linked"])
    for folder in ("linked", "photos"):
        with pytest.raises(InputError, match=f"--draw {folder}: holds images that are to be read"):
            check_picture_folder(Path(folder), images, "--draw")
    Path("other").symlink_to(in_tmp / "linked")
    with pytest.raises(InputError, match="--draw other: holds images that are to be read"):
        check_picture_folder(Path("other"), images, "--draw")
    check_picture_folder(Path("drawn"), images, "--draw")


@pytest.fixture
def runs(in_tmp: Path) -> list[str]:
    for name in ("runs/pets/1", "runs/pets/2", "runs/cars/1"):
        (in_tmp / name / "checkpoints").mkdir(parents=True)
        (in_tmp / name / "checkpoints" / "best.ckpt").touch()
        (in_tmp / name / "recipe.yaml").touch()
    return ["runs/pets/1", "runs/pets/2", "runs/cars/1"]


def test_leading_run_folders_are_runs_and_the_rest_images(runs: list[str]) -> None:
    assert split_runs(["runs/pets/1", "a.jpg"]) == ([Path("runs/pets/1")], ["a.jpg"])
    assert split_runs([*runs, "a.jpg", "nowhere"]) == ([Path(run) for run in runs], ["a.jpg", "nowhere"])
    assert split_runs(["runs/pets", "runs/cars", "x"]) == ([Path("runs/pets/2"), Path("runs/cars/1")], ["x"])


def test_a_command_line_without_runs_or_images_is_refused(runs: list[str]) -> None:
    with pytest.raises(MissingFileError, match="no run in a.jpg: give a folder like runs/<recipe>/<start time>"):
        split_runs(["a.jpg", "runs/pets"])
    with pytest.raises(MissingFileError, match="no images after runs/cars/1: name files, folders or globs"):
        split_runs(runs)
    with pytest.raises(InputError, match="runs must come before images: move runs/cars to the front"):
        split_runs(["runs/pets", "a.jpg", "runs/cars"])
    shutil.rmtree("runs/cars/1/checkpoints")
    with pytest.raises(MissingFileError, match="runs/cars/1 has no checkpoints/best.ckpt"):
        split_runs(["runs/pets", "runs/cars", "a.jpg"])


def test_what_is_passed_over_is_counted(photos: Path) -> None:
    for name in ("@eaDir/b10.jpg", "deep/@eaDir/a.png", "._b10.jpg", "x.heic", "noending", ".DS_Store"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"")
    passed = PassedOver()
    assert len(find_images(["photos", "photos/*"], passed)) == 4
    assert passed.files == {f"photos/{name}" for name in ("notes.txt", "strange.dat", "x.heic", "noending")}
    text = passed.describe()
    assert text.startswith("passed over: 4 files (")
    for part in (
        ".txt 1",
        ".dat 1",
        ".heic 1",
        "no suffix 1",
        "@eaDir",
        "._*",
        "to read more: pip install pillow-heif",
    ):
        assert part in text


def test_a_glob_takes_nothing_hidden_that_it_does_not_name(photos: Path) -> None:
    (photos / "@eaDir").mkdir()
    (photos / "@eaDir/b.jpg").write_bytes(b"")
    passed = PassedOver()
    assert [image.path for image in find_images(["photos/**/*.jpg"], passed)] == ["photos/b10.jpg"]
    assert passed.hidden == {"@eaDir": 1}
    assert found("photos/@eaDir/*.jpg") == ["photos/@eaDir/b.jpg"]
