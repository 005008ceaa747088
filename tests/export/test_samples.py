from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visiontasks.errors import InputError, MissingFileError
from visiontasks.export.samples import MADE_SIZES, folder_samples, made_samples, run_samples, three


def recipe(root: Path, **options: Any) -> dict[str, Any]:
    return {
        "seed_everything": 3,
        "data": {
            "class_path": "visiontasks.ImageFolder",
            "init_args": {"root": str(root), "image_size": 32, **options},
        },
    }


def test_images_of_a_folder_are_read_one_by_one(pictures: Path) -> None:
    samples = folder_samples(pictures)
    assert [sample.name for sample in samples] == ["0.png", "3.png", "1.png", "4.png", "2.png", "5.png"]
    assert [sample.read().shape for sample in samples][:3] == [(40, 60, 3), (33, 50, 3), (61, 37, 3)]


def test_a_folder_that_is_not_there_or_has_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"--images .*gone: no such folder"):
        folder_samples(tmp_path / "gone")
    with pytest.raises(InputError, match="no images in it"):
        folder_samples(tmp_path)


def test_images_of_the_run_are_spread_over_its_test_split(class_folders: Any, tmp_path: Path) -> None:
    class_folders(tmp_path, {"train/a": 3, "train/b": 3, "test/a": 5, "test/b": 6})
    samples = run_samples(recipe(tmp_path), 3)
    assert [sample.name for sample in samples] == [
        "0.png (test)",
        "0.png (test)",
        "5.png (test)",
    ]  # rows 0, 5, 10 of 11
    assert all(sample.read().shape == (32, 40, 3) for sample in samples)
    assert [sample.file for sample in samples] == [
        str(tmp_path / "test" / name) for name in ("a/0.png", "b/0.png", "b/5.png")
    ]


def test_the_other_splits_make_up_for_a_small_test_split(class_folders: Any, tmp_path: Path) -> None:
    class_folders(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 1, "test/b": 1})
    splits = [sample.name.partition(" ")[2] for sample in run_samples(recipe(tmp_path), 100)]
    assert splits.count("(test)") == 2
    assert splits.count("(val)") + splits.count("(train)") == 20
    assert splits[:2] == ["(test)"] * 2


def test_data_that_is_gone_is_an_error_and_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        run_samples(recipe(tmp_path / "gone"), 3)
    mnist = {
        "seed_everything": 0,
        "data": {"class_path": "visiontasks.MNIST", "init_args": {"root": str(tmp_path), "download": True}},
    }
    with pytest.raises(InputError):
        run_samples(mnist, 3)


def test_made_images_are_the_same_each_time() -> None:
    first, again = made_samples(), made_samples()
    for one, other, size in zip(first, again, MADE_SIZES, strict=True):
        np.testing.assert_array_equal(one.read(), other.read())
        assert one.read().shape == (*size, 3)
        assert one.read().std() > 20
    assert len({one.read().tobytes() for one in first}) == 3


def test_three_of_many_are_the_ends_and_the_middle() -> None:
    samples = made_samples() * 3
    assert three(samples) == [samples[0], samples[4], samples[8]]
    assert three(samples[:2]) == samples[:2]
