"""Which images belong together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from visiontasks.data.pipeline.groups import check_groups, group_names, groups_across, numbered
from visiontasks.errors import InputError, MissingFileError

ROOT = Path("photos")
FILMS = ["photos/cat/a_01_0001.png", "photos/cat/a_01_0002.png", "photos/dog/a_02_0001.png"]


def photograph(path: Path, taken: str | None = None, *, seed: int = 0) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    if taken:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, exif=exif)
    return str(path)


def test_a_pattern_takes_what_its_groups_match_in_the_name() -> None:
    assert group_names(r"(.*\D)\d+", FILMS, ROOT) == ["a_01_", "a_01_", "a_02_"]
    assert group_names(r"^(a)_\d+_(\d+)", FILMS, ROOT) == ["a 0001", "a 0002", "a 0001"]


def test_a_pattern_with_a_slash_takes_the_path_from_root_on() -> None:
    assert group_names(r"^(\w+)/", FILMS, ROOT) == ["cat", "cat", "dog"]


def test_folders_of_one_name_are_one_group() -> None:
    """A patient may be in two classes."""
    paths = ["photos/sick/p7/1.png", "photos/sick/p8/1.png", "photos/well/p7/1.png"]
    assert group_names("folder", paths, ROOT) == ["p7", "p8", "p7"]


def test_a_pause_of_more_than_ten_minutes_begins_a_group(tmp_path: Path) -> None:
    times = ["2026:05:01 10:09:00", "2026:05:01 10:00:00", "2026:05:01 10:20:00", "2026:05:01 10:18:59"]
    paths = [photograph(tmp_path / f"{i}.jpg", time) for i, time in enumerate(times)]
    first, second = "2026-05-01 10:00:00", "2026-05-01 10:18:59"
    assert group_names("time", paths, tmp_path) == [first, first, first, first]
    assert group_names("time:9.5", paths, tmp_path) == [first, first, second, second]
    assert len(set(group_names("time:0.5", paths, tmp_path))) == 4


def test_images_without_a_time_are_named(tmp_path: Path) -> None:
    paths = [photograph(tmp_path / "a.jpg", "2026:05:01 10:00:00"), photograph(tmp_path / "b.jpg")]
    paths.append(photograph(tmp_path / "c.jpg", "0000:00:00 00:00:00"))
    with pytest.raises(InputError, match=r"data\.init_args\.groups: time, .* 2 of 3 images: b\.jpg, c\.jpg; group by"):
        group_names("time", paths, tmp_path)


def test_near_duplicates_are_a_group(tmp_path: Path) -> None:
    paths = [photograph(tmp_path / f"{i}.jpg", seed=seed) for i, seed in enumerate((0, 1, 0))]
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    assert group_names("near", [*paths, str(tmp_path / "bad.jpg")], tmp_path) == ["0.jpg", "1.jpg", "0.jpg", "bad.jpg"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_names_groups_by_path_name_or_stem(tmp_path: Path, delimiter: str) -> None:
    rows = ["File,patient", "cat/a_01_0001.png,7", "a_01_0002.png,7", "a_02_0001,8"]
    (tmp_path / "people.csv").write_text("\n".join(rows).replace(",", delimiter), encoding="utf-8-sig")
    assert group_names(f"{tmp_path}/people.csv:patient", FILMS, ROOT) == ["7", "7", "8"]
    inside = [f"{tmp_path}/{path.removeprefix('photos/')}" for path in FILMS]
    assert group_names("people.csv:patient", inside, tmp_path) == ["7", "7", "8"]  # from root on


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["file,place", "cat/a_01_0001.png,7"], "has no column patient, only file, place"),
        (["number,patient", "1,7"], r"has no column of files \(file, path, .*\), only number, patient"),
        ([], "has no column patient, only nothing"),
        (["file,patient", "a_01_0001.png,7", "a_01_0002.png,"], "no cell for 2 of 3 images: cat/a_01_0002.png, dog/"),
        (
            ["file,patient", "a_01_0001.png,7", "a_01_0001.png,8", "a_01_0002,1", "a_02_0001,1"],
            "several cells for 1 of",
        ),
    ],
)
def test_what_a_table_does_not_have_is_named(tmp_path: Path, rows: Sequence[str], message: str) -> None:
    (tmp_path / "people.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(InputError, match=rf"data\.init_args\.groups: .*people\.csv.*{message}"):
        group_names(f"{tmp_path}/people.csv:patient", FILMS, ROOT)


def test_a_missing_table_and_files_without_a_match_are_named() -> None:
    with pytest.raises(MissingFileError, match=r"data\.init_args\.groups: no file none\.csv, here or in photos/"):
        group_names("none.csv:patient", FILMS, ROOT)
    with pytest.raises(InputError, match=r"pattern '\(_02_\)' matches nothing in the name of 2 of 3 images: cat/a_01"):
        group_names("(_02_)", FILMS, ROOT)


@pytest.mark.parametrize("groups", ["names", "time:soon", "(film", "people.csv", ""])
def test_other_words_are_refused_at_once(groups: str) -> None:
    with pytest.raises(InputError, match=r"data\.init_args\.groups: .*expected folder, near, time, "):
        check_groups(groups)


@pytest.mark.parametrize("groups", [None, "folder", "near", "time", "time:30", "people.csv:patient id", r"(\d+)_"])
def test_each_form_is_taken(groups: str | None) -> None:
    assert check_groups(groups) == groups


def test_groups_are_numbered_as_they_appear_and_compared_across_splits() -> None:
    assert numbered(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]
    splits = {"train": ["p7", "p7", "p8"], "val": ["p9"], "test": ["p7"]}
    assert groups_across(splits) == {"p7": {"train": 2, "test": 1}}
