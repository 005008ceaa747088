"""Which files count, and in which order."""

import subprocess
import sys
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image, features

from visiontasks.data.pipeline.files import (
    IMAGE_SUFFIXES,
    _readable_suffixes,
    class_folders,
    image_files,
    is_image,
    listed,
    natural_key,
)
from visiontasks.errors import InputError


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in image_files([folder])[0]]


def test_numbers_in_names_sort_as_numbers() -> None:
    given = ["class10", "class2", "10", "9", "a", "class2b", "Class1", "class02"]
    assert sorted(given, key=natural_key) == ["9", "10", "a", "Class1", "class02", "class2", "class2b", "class10"]


def test_class_folders_are_the_visible_folders(tmp_path: Path) -> None:
    touched(tmp_path, "class10/a.png", "class2/a.png", ".cache/a.png", "notes.txt")
    assert class_folders(tmp_path) == ["class2", "class10"]


def test_images_are_found_in_subfolders_in_any_case_and_sidecars_are_passed_over(tmp_path: Path) -> None:
    touched(tmp_path, "10.png", "2.JPG", "deep/er/1.Jpeg", ".hidden.png", ".git/a.png", "2.xml", "Thumbs.db", "LICENSE")
    assert names(tmp_path) == ["2.JPG", "10.png", "deep/er/1.Jpeg"]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    touched(tmp_path / "elsewhere", "a.png", "more/b.png")
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "one.png").symlink_to(tmp_path / "elsewhere/a.png")
    (folder / "many").symlink_to(tmp_path / "elsewhere/more")
    assert names(folder) == ["many/b.png", "one.png"]


def test_a_link_to_its_own_parent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/again").symlink_to(tmp_path / "class")
    with pytest.raises(InputError, match="a link to a folder that contains it"):
        image_files([tmp_path / "class"])


def test_all_foreign_files_of_all_folders_are_named(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.png", "a/2.psd", "b/movie.mp4", "b/noending")
    with pytest.raises(InputError, match=r"3 file\(s\) .*/a/2\.psd, .*/b/movie\.mp4, .*/b/noending; convert or remove"):
        image_files([tmp_path / "a", tmp_path / "b"])


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(InputError, match=r"may not be read \(Permission denied\)"):
        class_folders(tmp_path)


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(i) for i in range(25)]).endswith("18, 19 and 5 more")


@pytest.mark.parametrize("suffix", [".jfif", ".JFIF", ".jpe", ".jif", ".pjpeg", ".pjp", ".pnm", ".j2k", ".apng"])
def test_suffixes_of_the_formats_that_pil_reads_are_images(suffix: str) -> None:
    assert is_image(f"a{suffix}")


@pytest.mark.parametrize("suffix", [".psd", ".pdf", ".mpg", ".mp4", ".h5", ".ico", ".eps", ".dat", ""])
def test_icons_videos_and_documents_are_not(suffix: str) -> None:
    assert not is_image(f"a{suffix}")


def test_avif_is_an_image_where_pillow_reads_it() -> None:
    assert is_image("a.avif") == features.check("avif")


def test_a_format_that_needs_a_plugin_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiontasks.data.pipeline.files.IMAGE_SUFFIXES", IMAGE_SUFFIXES - {".heic"})
    touched(tmp_path, "1.png", "2.HEIC")
    with pytest.raises(InputError, match=r"1 file\(s\) .*2\.HEIC; convert or remove them, or pip install pillow-heif"):
        image_files([tmp_path])


def test_a_plugin_that_is_installed_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ModuleType("pillow_heif")
    plugin.__spec__ = ModuleSpec("pillow_heif", None)
    plugin.register_heif_opener = lambda: Image.register_extension("HEIF", ".heic")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    monkeypatch.setitem(Image.OPEN, "HEIF", Image.OPEN["PNG"])
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))
    assert ".heic" in _readable_suffixes()


def test_hidden_folders_and_images_are_counted_by_kind(tmp_path: Path) -> None:
    touched(tmp_path, "1.png", "._1.png", "._2.png", ".DS_Store", "@eaDir/1.png", "deep/@eaDir/1.png", "Thumbs.db")
    hidden: Counter[str] = Counter()
    assert len(image_files([tmp_path], hidden)[0]) == 1
    assert hidden == {"._*": 2, "@eaDir": 2}


def test_jpeg_and_png_are_tried_before_rare_formats() -> None:
    code = (
        "import visiontasks.data.pipeline.files, PIL.Image as i\nprint(sorted(map(i.ID.index, ('JPEG', 'PNG')))[1] < 6)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


def test_notes_of_systems_beside_images_are_no_error(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    for name in ("Picasa.ini", "ZbThumbnail.info", "a.png@SynoEAStream", "a.png:Zone.Identifier"):
        (tmp_path / name).write_text("x")
    assert image_files([tmp_path]) == [[str(tmp_path / "a.png")]]
