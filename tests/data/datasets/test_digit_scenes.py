"""The embedded scenes: made from seeds alone, with boxes and masks that fit, and splits that share nothing."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from visiontasks.data import DigitScenes
from visiontasks.data.datasets import digit_scenes
from visiontasks.data.datasets.digit_scenes import box_of, draw_digit
from visiontasks.errors import InputError

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def boxes() -> DigitScenes:
    data = DigitScenes()
    data.setup()
    return data


@pytest.fixture(scope="module")
def masks() -> DigitScenes:
    data = DigitScenes(target="mask", seed=7)
    data.setup()
    return data


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten digits of each class only, for tests that make scenes anew."""
    digits = load_digits()
    rows = np.concatenate([np.flatnonzero(digits.target == digit)[:10] for digit in range(10)])
    digits.target, digits.images = digits.target[rows], digits.images[rows]
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: digits)


def scenes(**options: Any) -> Any:
    data = DigitScenes(**options)
    data.setup()
    return data.source("train").images


def test_every_digit_is_in_one_scene_of_its_class(boxes: DigitScenes) -> None:
    assert boxes.split_sizes == {"train": 4 * 1078, "val": 360, "test": 359}
    assert boxes.class_names == list("0123456789")
    whole = np.bincount(load_digits().target)
    train, val, test = (np.bincount(boxes.source(split).labels) for split in SPLITS)
    assert (train // 4 + val + test).tolist() == whole.tolist()


def test_masks_tell_background_and_ten_digits_apart(masks: DigitScenes) -> None:
    assert masks.class_names == ["background", *"0123456789"]
    assert len(masks.class_counts) == 11
    assert masks.class_counts[0] > sum(masks.class_counts[1:]) > 0
    for row in range(20):
        values = np.unique(masks.source("val")[row]["mask"])
        assert values[0] == 0
        assert len(values) == 2


def test_boxes_and_masks_are_of_the_same_scenes_and_fit_tightly(boxes: DigitScenes, masks: DigitScenes) -> None:
    for row in range(359):
        boxed, masked = boxes.source("test")[row], masks.source("test")[row]
        np.testing.assert_array_equal(boxed["image"], masked["image"])
        left, top, right, bottom = boxed["boxes"][0].astype(int)
        digit = masked["mask"] == boxed["labels"] + 1
        assert digit.sum() == (masked["mask"] > 0).sum() == digit[top:bottom, left:right].sum()
        assert digit[top].any()
        assert digit[bottom - 1].any()
        assert digit[:, left].any()
        assert digit[:, right - 1].any()


def test_the_box_of_a_mask_by_hand() -> None:
    mask = np.zeros((5, 7), np.bool_)
    mask[1, 4] = mask[3, 2] = True
    assert box_of(mask).tolist() == [2, 1, 5, 4]


@pytest.mark.parametrize("seed", range(5))
def test_a_full_square_is_drawn_as_one_in_a_colour_that_stands_out(seed: int) -> None:
    background = np.full((64, 80, 3), 100, np.uint8)
    scene, mask = draw_digit(background, np.ones((8, 8), np.float32), np.random.default_rng(seed))
    left, top, right, bottom = box_of(mask).astype(int)
    assert 20 <= right - left == bottom - top <= 44
    assert mask.sum() == (right - left) ** 2
    assert abs(scene[top, left].mean() - 100) >= 90
    expected = background.copy()
    expected[top:bottom, left:right] = scene[top, left]
    np.testing.assert_array_equal(scene, expected)


@pytest.mark.usefixtures("few_digits")
def test_scenes_depend_on_their_seed_alone() -> None:
    made = scenes()
    np.testing.assert_array_equal(scenes(seed=5), made)
    assert (scenes(scene_seed=1) != made).any((1, 2, 3)).all()
    assert (scenes(split_seed=1) != made).any()


@pytest.mark.usefixtures("few_digits")
def test_splits_share_neither_digits_nor_parts_of_the_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.broadcast_to(np.arange(640, dtype=np.uint16)[:, None], (100, 640, 3))
    found: list[tuple[int, int, bytes]] = []

    def note(background: Any, digit: Any, rng: Any) -> Any:
        found.append((background[0, 0, 0], background[0, -1, 0], digit.tobytes()))
        return np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), np.bool_)

    monkeypatch.setattr(digit_scenes, "draw_digit", note)
    monkeypatch.setattr("sklearn.datasets.load_sample_images", lambda: type("Photos", (), {"images": [columns] * 2}))
    data = DigitScenes(scenes_per_digit=1)
    data.setup()
    assert data.split_sizes == {"train": 60, "val": 20, "test": 20}
    assert len({digit for _, _, digit in found}) == len(found) == 100
    for (first, end), of_split in zip(
        [(0, 384), (384, 512), (512, 640)], np.split(np.arange(100), [60, 80]), strict=True
    ):
        assert min(found[row][0] for row in of_split) >= first
        assert max(found[row][1] for row in of_split) < end


def test_no_worker_loads_them_on_a_cpu(masks: DigitScenes) -> None:
    loader = masks.train_dataloader()
    assert loader.num_workers == 0
    batch = next(iter(loader))
    assert (batch["image"].shape, batch["mask"].shape) == ((32, 3, 64, 64), (32, 64, 64))


@pytest.mark.parametrize(("key", "value"), [("scene_seed", -1), ("scenes_per_digit", 0)])
def test_numbers_out_of_range_are_refused(key: str, value: int) -> None:
    with pytest.raises(InputError, match=rf"data\.init_args\.{key}: {value}, expected {value + 1} or more"):
        DigitScenes(**{key: value})


def test_a_digit_is_drawn_in_several_scenes_for_training() -> None:
    data = DigitScenes(scenes_per_digit=2)
    data.setup()
    train = data.source("train")
    assert len(train) == 2 * 1078
    assert train.labels[0] == train.labels[1078]
    assert (train[0]["image"] != train[1078]["image"]).any()
