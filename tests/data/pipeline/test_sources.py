"""Splits counted by hand, and sources that hand out what they hold."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import stratified_split
from visiontasks.data.pipeline.sources import (
    ArraySource,
    FileSource,
    Subset,
    divided,
    fingerprint,
    in_memory,
    sample_name,
)
from visiontasks.errors import InputError


def labels(*counts: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """counts[k] rows of class k, mixed."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(7).permutation(rows)


@pytest.mark.parametrize(
    ("counts", "fraction", "expected"),
    [
        ((10, 20, 30), 0.1, [1, 2, 3]),
        ((10, 10, 10), 0.5, [5, 5, 5]),
        # Shares 1.5, 1.5, 1.0: 1 + 1 + 1, and the 4th of round(4.0) goes to the first of the two halves.
        ((15, 15, 10), 0.1, [2, 1, 1]),
        # Shares 1.2, 1.4, 1.9, together 4.5, rounded up to 5: the two largest remainders are 0.9 and 0.4.
        ((12, 14, 19), 0.1, [1, 2, 2]),
        # 0.29 * 100 is 28.999999999999996 as a float, and 29 rows are due.
        ((100, 100), 0.29, [29, 29]),
        # A tenth of 4 is nothing, but a class is in both parts.
        ((4, 100), 0.1, [1, 10]),
        ((2, 2), 0.9, [1, 1]),
    ],
)
def test_split_counts(counts: tuple[int, ...], fraction: float, expected: list[int]) -> None:
    of_row = labels(*counts)
    first, second = stratified_split(of_row, fraction, seed=0)
    assert np.bincount(of_row[second]).tolist() == expected
    assert sorted([*first, *second]) == list(range(sum(counts)))
    assert first.tolist() == sorted(first)
    assert second.tolist() == sorted(second)


def test_split_depends_on_its_seed_alone() -> None:
    of_row = labels(30, 30)
    same = [stratified_split(of_row, 0.5, seed=1)[1].tolist() for _ in range(2)]
    assert same[0] == same[1] != stratified_split(of_row, 0.5, seed=2)[1].tolist()


def test_a_class_of_one_cannot_be_split() -> None:
    with pytest.raises(InputError, match="cannot split class 1, it has a single image"):
        stratified_split(labels(5, 1), 0.5, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="expected one between 0 and 1"):
        stratified_split(labels(5, 5), fraction, seed=0)


def test_grey_arrays_come_as_rgb() -> None:
    source = ArraySource(np.array([[[1, 2], [3, 4]]], np.uint8), np.array([0]))
    assert source[0]["image"].tolist() == [[[1] * 3, [2] * 3], [[3] * 3, [4] * 3]]


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 2, 3)])
def test_changing_a_sample_does_not_change_its_source(shape: tuple[int, ...]) -> None:
    source = ArraySource(np.zeros(shape, np.uint8), np.array([0]))
    source[0]["image"][:] = 9
    assert source[0]["image"].max() == 0


def test_a_subset_is_its_rows_in_their_order(tmp_path: Path) -> None:
    for value in range(4):
        Image.new("L", (2, 2), value).save(tmp_path / f"{value}.png")
    whole = FileSource([str(tmp_path / f"{value}.png") for value in range(4)], np.array([0, 1, 0, 1]))
    subset = Subset(whole, np.array([3, 0]))
    assert len(subset) == 2
    assert subset.labels.tolist() == [1, 0]
    assert [(int(subset[i]["image"][0, 0, 0]), subset[i]["label"]) for i in range(2)] == [(3, 1), (0, 0)]
    assert not in_memory(subset)
    assert in_memory(Subset(ArraySource(np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.int64)), np.array([0])))


def test_an_array_source_of_masks_has_no_labels() -> None:
    source = ArraySource(np.zeros((1, 1, 2), np.uint8), np.array([0]), masks=np.array([[[3, 255]]], np.uint8))
    sample = source[0]
    assert sample.keys() == {"image", "mask"}
    sample["mask"][:] = 9
    assert source[0]["mask"].tolist() == [[3, 255]]


def test_a_sample_is_named_by_its_file_or_its_row() -> None:
    files = FileSource(["cats/a.png", "cats/b.png", "dogs/b.png"], np.array([0, 0, 1]))
    assert sample_name(files, 1) == "b.png"
    assert sample_name(Subset(Subset(files, np.array([2, 0])), np.array([1])), 0) == "a.png"
    arrays = ArraySource(np.zeros((9, 2, 2), np.uint8), np.zeros(9, np.int64))
    assert sample_name(arrays, 5) == "5"
    assert sample_name(Subset(arrays, np.array([4, 8])), 1) == "8"


def test_a_divided_source_is_whole_and_stratified() -> None:
    whole = ArraySource(np.zeros((30, 1, 1), np.uint8), labels(10, 20))
    parts = divided(whole, val_fraction=0.2, test_fraction=0.3, split_seed=0)
    assert {split: np.bincount(part.labels).tolist() for split, part in parts.items()} == {
        "train": [5, 10],
        "val": [2, 4],
        "test": [3, 6],
    }
    assert divided(whole, val_fraction=0.2, test_fraction=0.0, split_seed=0).keys() == {"train", "val"}


@pytest.mark.parametrize("size", [1, 100, 2**20, 2**20 + 1, 5_000_000])
def test_a_file_that_changes_behind_its_size_and_time_gets_another_fingerprint(tmp_path: Path, size: int) -> None:
    file = tmp_path / "a.png"
    source = FileSource([str(file)], np.array([0]))
    places = {0, size // 2, size - 1} if size <= 2**20 else {0, 2**16 - 1, size - 2**16, size - 1}
    found = set()
    for place in [None, *places]:
        content = bytearray(size)
        if place is not None:
            content[place] = 1
        file.write_bytes(content)
        os.utime(file, (1000, 1000))
        found.add(fingerprint(source))
    assert len(found) == 1 + len(places)
    os.utime(file, (1001, 1001))
    assert fingerprint(source) not in found


def test_a_large_file_that_is_changed_in_an_eighth_of_it_gets_another_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "a.bmp"
    found = set()
    for start in [None, *range(0, 8_000_000, 1_000_000)]:
        content = bytearray(8_000_000)
        if start is not None:
            content[start : start + 1_000_000] = b"1" * 1_000_000
        file.write_bytes(content)
        os.utime(file, (1000, 1000))
        found.add(fingerprint(FileSource([str(file)], np.array([0]))))
    assert len(found) == 9
