"""What the plan says of the data, by hand."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import ImageFolder
from visiontasks.data.audit.overview import copies_across_splits, describe_classes, equal_files, overview


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Noise in train (4 of a, 3 of b), val and test (1 of each), all different."""
    seed = 0
    for folder, number in (("train/a", 4), ("train/b", 3), *((f"{s}/{c}", 1) for s in ("val", "test") for c in "ab")):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(number):
            coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
            coarse.resize((64, 48), Image.Resampling.BICUBIC).save(tmp_path / folder / f"{i}.png")
            seed += 1
    return tmp_path


def opened(root: Path) -> ImageFolder:
    data = ImageFolder(str(root))
    data.setup()
    return data


def test_classes_and_counts_are_named(photos: Path) -> None:
    assert overview(opened(photos)) == ["11 images, 2 classes: a 6, b 5. train 7, val 2, test 2"]


def test_splits_that_are_made_are_named(photos: Path) -> None:
    shutil.rmtree(photos / "val")
    line = overview(opened(photos))[0]
    assert line == "9 images, 2 classes: a 5, b 4. train 5, val 2, test 2 (val split off train for you)"
    whole = photos / "train"
    line = overview(opened(whole))[0]
    assert line == "7 images, 2 classes: a 4, b 3. train 3, val 2, test 2 (split for you)"


def test_what_was_passed_over_is_noted(photos: Path) -> None:
    shutil.copytree(photos / "train/a", photos / "train/a/@eaDir")
    shutil.copytree(photos / "val/a", photos / "pred")
    assert overview(opened(photos))[1:] == [
        "note: not read beside train/, val/, test/: pred/",
        "note: passed over as hidden or a system's: @eaDir (1)",
    ]


def test_the_same_file_in_two_splits_is_found(photos: Path) -> None:
    shutil.copy(photos / "train/a/2.png", photos / "test/b/copy.png")
    (line,) = copies_across_splits(opened(photos))
    assert line.startswith(f"in two splits the same file: {photos}/test/b/copy.png and {photos}/train/a/2.png; metrics")


def test_nearly_the_same_image_in_two_splits_is_found(photos: Path) -> None:
    stream = io.BytesIO()
    Image.open(photos / "train/b/1.png").resize((50, 40)).save(stream, "JPEG", quality=80)
    (photos / "val/b/other.jpg").write_bytes(stream.getvalue())
    (line,) = copies_across_splits(opened(photos))
    assert line.startswith(f"in two splits nearly the same image: {photos}/val/b/other.jpg and {photos}/train/b/1.png;")


def test_copies_within_a_split_are_no_leak(photos: Path) -> None:
    shutil.copy(photos / "train/a/2.png", photos / "train/b/copy.png")
    assert copies_across_splits(opened(photos)) == []


@pytest.mark.parametrize(("place", "pairs"), [(0, 0), (50_000, 0), (99_999, 0), (None, 1)])
def test_large_files_of_one_size_are_compared_in_full(tmp_path: Path, place: int | None, pairs: int) -> None:
    content = bytearray(100_000)
    (tmp_path / "a").write_bytes(content)
    if place is not None:
        content[place] = 1
    (tmp_path / "b").write_bytes(content)
    files = {"train": [str(tmp_path / "a")], "val": [str(tmp_path / "b")]}
    assert len(list(equal_files(files))) == pairs


@pytest.mark.parametrize(
    ("names", "counts", "unit", "expected"),
    [
        (["a"], [3], "objects", "1 class by objects: a 3"),
        (["a", "b"], [750, 250], "pixels", "2 classes by share of pixels: a 75.0%, b 25.0%"),
        (["a", "b"], None, "pixels", "2 classes: a, b"),
        (
            [f"c{i}" for i in range(12)],
            [1000 + i for i in range(12)],
            "images",
            "12 classes of 1,000 to 1,011 images: c0 1,000, c1 1,001, c2 1,002, c3 1,003, c4 1,004, c5 1,005, "
            "c6 1,006, c7 1,007, c8 1,008, c9 1,009 and 2 more",
        ),
    ],
)
def test_long_lists_of_classes_are_cut(names: list[str], counts: list[int] | None, unit: str, expected: str) -> None:
    assert describe_classes(names, counts, unit) == expected


@pytest.mark.realdata
def test_the_near_duplicate_of_the_pets_is_found(unpacked: Callable[[str], Path], tmp_path: Path) -> None:
    pets = unpacked("pets3") / "oxford-iiit-pet"
    for split, listing in (("train", "trainval"), ("test", "test")):
        for line in (pets / f"annotations/{listing}.txt").read_text().splitlines():
            stem = line.split()[0]
            link = tmp_path / split / stem.rpartition("_")[0] / f"{stem}.jpg"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(pets / f"images/{stem}.jpg")
    lines = copies_across_splits(opened(tmp_path))
    assert len(lines) == 1
    assert "Abyssinian_99.jpg and " in lines[0]
    assert "Abyssinian_151.jpg" in lines[0]
