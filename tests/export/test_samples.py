from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from visiontasks.errors import InputError, MissingFileError
from visiontasks.export.samples import MADE_SIZES, folder_samples, made_samples, run_samples, three
from visiontasks.recipe.open_run import FinishedRun


def test_images_of_a_folder_are_read_one_by_one(pictures: Path) -> None:
    samples = folder_samples(pictures)
    assert [sample.name for sample in samples] == ["0.png", "3.png", "1.png", "4.png", "2.png", "5.png"]
    assert [sample.read().shape for sample in samples][:3] == [(40, 60, 3), (33, 50, 3), (61, 37, 3)]


def test_a_folder_that_is_not_there_or_has_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"--images .*gone: no such folder"):
        folder_samples(tmp_path / "gone")
    with pytest.raises(InputError, match="no images in it"):
        folder_samples(tmp_path)


def test_images_of_the_run_are_spread_over_its_test_split(
    class_folders: Any, make_trained: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    class_folders(root, {"train/ant": 3, "train/bee": 3, "train/cow": 3, "test/ant": 5, "test/bee": 6})
    samples = run_samples(make_trained(root=root), 3)
    assert [sample.name for sample in samples] == [
        "0.png (test)",
        "0.png (test)",
        "5.png (test)",
    ]  # rows 0, 5, 10 of 11
    assert all(sample.read().shape == (32, 40, 3) for sample in samples)
    assert [sample.file for sample in samples] == [
        str(root / "test" / name) for name in ("ant/0.png", "bee/0.png", "bee/5.png")
    ]


def test_the_other_splits_make_up_for_a_small_test_split(
    class_folders: Any, make_trained: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    class_folders(root, {"train/ant": 10, "train/bee": 10, "train/cow": 10, "test/ant": 1, "test/bee": 1})
    splits = [sample.name.partition(" ")[2] for sample in run_samples(make_trained(root=root), 100)]
    assert splits.count("(test)") == 2
    assert splits.count("(val)") + splits.count("(train)") == 30
    assert splits[:2] == ["(test)"] * 2


def test_data_that_is_gone_is_an_error_and_nothing_is_downloaded(
    make_trained: Callable[..., FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = make_trained(root=tmp_path / "gone")
    with pytest.raises(InputError):
        run_samples(trained, 3)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("was opened"))
    recipe = yaml.safe_load((trained.folder / "recipe.yaml").read_text())
    options = {"root": str(tmp_path), "download": True, "image_size": [32, 48]}
    recipe["data"] = {"class_path": "visiontasks.MNIST", "init_args": options}
    (trained.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setattr("visiontasks.MNIST.load_state_dict", lambda *_: None)  # whose classes are others
    with pytest.raises(InputError, match="MNIST"):
        run_samples(trained, 3)


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
