"""Augmentation as a function of (seed, epoch, index), and the geometry of the resize policies."""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np
import pytest
from albumentations.pytorch import ToTensorV2

from visiontasks.data import resize_image
from visiontasks.data.transforms import LETTERBOX_GREY, Augmentation, Resize, scaled_size
from visiontasks.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def outcomes(transforms: Sequence[Any], *, seed: int = 0, epoch: int = 0, number: int = 40) -> list[bytes]:
    augmentation = Augmentation(transforms, seed=seed)
    return [augmentation(IMAGE, epoch=epoch, index=index).tobytes() for index in range(number)]


@pytest.mark.parametrize(
    "transforms",
    [
        lambda: [A.RandomCrop(8, 8), A.HorizontalFlip()],
        lambda: [A.OneOf([A.HueSaturationValue(p=1), A.OneOf([A.RandomGamma(p=1), A.Blur(p=1)])], p=0.9)],
        lambda: [A.SomeOf([A.HorizontalFlip(), A.VerticalFlip(), A.RandomBrightnessContrast()], n=2)],
        lambda: [A.GaussNoise(p=1)],
        lambda: [A.AdditiveNoise(noise_type="gaussian", p=1)],
        lambda: [A.Spatter(p=1)],
        lambda: [A.ElasticTransform(p=1)],
        lambda: [A.CoarseDropout(fill="random", p=1)],
    ],
)
def test_the_outcome_depends_on_seed_epoch_and_index_only(transforms: Any) -> None:
    first = outcomes(transforms())
    backwards = Augmentation(transforms(), seed=0)
    assert first == [backwards(IMAGE, epoch=0, index=index).tobytes() for index in reversed(range(40))][::-1]
    assert first != outcomes(transforms(), epoch=1)
    assert first != outcomes(transforms(), seed=1)
    assert len(set(first)) > 1


def test_two_flips_fall_independently() -> None:
    # With albumentations' own set_random_seed they always fall together: 2 outcomes in place of 4.
    drawn = outcomes([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)], number=400)
    counts = [drawn.count(outcome) for outcome in set(drawn)]
    assert len(counts) == 4
    assert min(counts) > 70


def test_neighbours_in_seed_epoch_and_index_do_not_repeat_each_other() -> None:
    crop = A.RandomCrop(4, 4)
    draws = [tuple(outcomes([crop], seed=seed, epoch=epoch, number=20)) for seed in range(3) for epoch in range(3)]
    assert len(set(draws)) == 9


@pytest.mark.parametrize(
    ("transform", "name"),
    [
        (A.Normalize(), "Normalize"),
        (A.ToFloat(), "ToFloat"),
        (ToTensorV2(), "ToTensorV2"),
        (A.OneOf([A.Sequential([A.Normalize()])]), "Normalize"),
    ],
)
def test_normalizing_transforms_are_refused_also_nested(transform: Any, name: str) -> None:
    with pytest.raises(InputError, match=rf"data\.init_args\.augment: {name} is refused.*normalizes on the device"):
        Augmentation([A.HorizontalFlip(), transform], seed=0)


def test_what_is_no_transform_is_refused() -> None:
    with pytest.raises(InputError, match="'flip' is no albumentations transform"):
        Augmentation(["flip"], seed=0)  # type: ignore[list-item]


def test_a_transform_that_does_not_suit_the_image_is_named() -> None:
    with pytest.raises(InputError, match=r"data\.init_args\.augment: failed on sample 7, 16x16 pixels \(Crop size"):
        Augmentation([A.RandomCrop(32, 32)], seed=0)(IMAGE, epoch=0, index=7)


def test_a_change_of_type_is_refused() -> None:
    def halved(image: Any, **_: Any) -> Any:
        return image / np.float32(2)

    halve = A.Lambda(image=halved, p=1)
    with pytest.raises(InputError, match=r"gave float32 of shape \(16, 16, 3\), expected uint8"):
        Augmentation([halve], seed=0)(IMAGE, epoch=0, index=0)


@pytest.mark.parametrize(
    ("height", "width", "policy", "expected"),
    [
        (100, 50, "crop", (448, 224)),
        (50, 100, "crop", (224, 448)),
        (333, 500, "crop", (224, 336)),  # 336.3
        (333, 500, "letterbox", (149, 224)),  # 149.2
        (448, 3, "letterbox", (224, 2)),  # 1.5 is rounded up
        (448, 1, "letterbox", (224, 1)),  # 0.5 too
        (1000, 1, "letterbox", (224, 1)),  # but nothing vanishes
        (333, 500, "squash", (224, 224)),
    ],
)
def test_sizes_before_crop_or_padding(height: int, width: int, policy: Resize, expected: tuple[int, int]) -> None:
    assert scaled_size(height, width, 224, policy) == expected


def test_crop_takes_the_middle() -> None:
    # 2 high, 7 wide, at its own scale: columns 2 and 3 of 0..6 ((7 - 2) // 2 = 2).
    image = np.arange(7, dtype=np.uint8)[None, :, None].repeat(2, 0).repeat(3, 2)
    assert resize_image(image, 2, "crop")[:, :, 0].tolist() == [[2, 3], [2, 3]]


def test_crop_averages_over_areas_when_it_shrinks() -> None:
    # 4 high, 8 wide, to 2: half, so each pixel is the mean of 2x2; then columns 1 and 2 of 0..3.
    image = np.arange(32, dtype=np.uint8).reshape(4, 8, 1).repeat(3, 2) * 4
    means = image.reshape(2, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_array_equal(resize_image(image, 2, "crop"), means[:, 1:3])


def test_squash_averages_over_areas() -> None:
    image = np.arange(0, 96, 4, dtype=np.uint8).reshape(4, 6, 1).repeat(3, 2)
    means = image.reshape(2, 2, 2, 3, 3).mean((1, 3))
    np.testing.assert_array_equal(resize_image(image, 2, "squash"), means)


def test_letterbox_pads_evenly_and_the_odd_row_comes_below() -> None:
    # 2 high, 5 wide, at its own scale: 3 rows to add, 1 above and 2 below.
    image = np.full((2, 5, 3), 9, np.uint8)
    rows = resize_image(image, 5, "letterbox")[:, :, 0].tolist()
    grey = [LETTERBOX_GREY] * 5
    assert rows == [grey, [9] * 5, [9] * 5, grey, grey]


def test_letterbox_pads_a_tall_image_left_and_right() -> None:
    columns = resize_image(np.full((4, 2, 3), 9, np.uint8), 4, "letterbox")[0, :, 0].tolist()
    assert columns == [LETTERBOX_GREY, 9, 9, LETTERBOX_GREY]


def test_enlarging_is_linear() -> None:
    image = np.array([[0, 100]], np.uint8)[:, :, None].repeat(3, 2)
    # Centres of the new pixels lie at -0.25, 0.25, 0.75, 1.25 of the old.
    assert resize_image(image, 4, "squash")[0, :, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("policy", ["crop", "squash", "letterbox"])
def test_an_image_of_the_right_size_is_left_alone(policy: Resize) -> None:
    assert resize_image(IMAGE, 16, policy) is IMAGE


@pytest.mark.parametrize("policy", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (299, 301), (7, 5), (224, 223)])
def test_every_policy_gives_the_square_asked_for(policy: Resize, shape: tuple[int, int]) -> None:
    resized = resize_image(np.full((*shape, 3), 50, np.uint8), 224, policy)
    assert resized.shape == (224, 224, 3)
    assert resized.dtype == np.uint8
