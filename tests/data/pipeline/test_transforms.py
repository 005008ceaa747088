"""Augmentation as a function of (seed, epoch, index), for images, boxes and masks."""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np
import pytest
from albumentations.pytorch import ToTensorV2

from visiontasks.data.pipeline.transforms import Augmentation
from visiontasks.data.targets import BoxesTarget, LabelTarget, MaskTarget
from visiontasks.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def outcomes(transforms: Sequence[Any], *, seed: int = 0, epoch: int = 0, number: int = 40) -> list[bytes]:
    augmentation = Augmentation(transforms, seed=seed, target=LabelTarget())
    return [augmentation({"image": IMAGE}, epoch=epoch, index=index)["image"].tobytes() for index in range(number)]


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
    backwards = Augmentation(transforms(), seed=0, target=LabelTarget())
    assert (
        first
        == [backwards({"image": IMAGE}, epoch=0, index=index)["image"].tobytes() for index in reversed(range(40))][::-1]
    )
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
        Augmentation([A.HorizontalFlip(), transform], seed=0, target=LabelTarget())


def test_what_is_no_transform_is_refused() -> None:
    with pytest.raises(InputError, match="'flip' is not an albumentations transform"):
        Augmentation(["flip"], seed=0, target=LabelTarget())


def test_a_transform_that_does_not_suit_the_image_is_named() -> None:
    with pytest.raises(InputError, match=r"data\.init_args\.augment: failed on sample 7, 16x16 pixels \(Crop size"):
        Augmentation([A.RandomCrop(32, 32)], seed=0, target=LabelTarget())({"image": IMAGE}, epoch=0, index=7)


def test_a_change_of_type_is_refused() -> None:
    def halved(image: Any, **_: Any) -> Any:
        return image / np.float32(2)

    halve = A.Lambda(image=halved, p=1)
    with pytest.raises(InputError, match=r"gave float32 of shape \(16, 16, 3\), expected uint8"):
        Augmentation([halve], seed=0, target=LabelTarget())({"image": IMAGE}, epoch=0, index=0)


PAIR = np.array([[2.0, 4.0, 6.0, 12.0], [np.nan] * 4], np.float32)  # two objects, of which the second is none


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (A.HorizontalFlip(p=1), [10, 4, 14, 12]),  # x -> 16 - x
        (A.VerticalFlip(p=1), [2, 4, 6, 12]),  # 16 - 12 = 4, 16 - 4 = 12
        (A.Transpose(p=1), [4, 2, 12, 6]),
        (A.Crop(4, 8, 12, 16), [0, 0, 2, 4]),  # 2 of 4 columns and 4 of 8 rows are left: a quarter
        (A.Resize(32, 8), [1, 8, 3, 24]),
        (A.Crop(5, 0, 16, 16), [0, 4, 1, 12]),  # a quarter is left
        (A.Crop(0, 0, 16, 5), [2, 4, 6, 5]),  # an eighth
        (A.Crop(6, 0, 16, 16), [np.nan] * 4),  # nothing
        (A.Crop(0, 11, 16, 16), [2, 0, 6, 1]),
        (A.Crop(0, 0, 3, 5), [np.nan] * 4),  # 1 of 32 pixels
    ],
)
def test_boxes_move_with_the_image_and_are_lost_with_it(transform: Any, expected: list[float]) -> None:
    augmentation = Augmentation([transform], seed=0, target=BoxesTarget())
    one = augmentation({"image": IMAGE, "labels": np.array([3]), "boxes": PAIR[:1]}, epoch=0, index=0)
    np.testing.assert_allclose(one["boxes"], [expected], atol=1e-5)
    assert one["labels"].tolist() == [3]
    two = augmentation({"image": IMAGE, "boxes": PAIR[::-1]}, epoch=0, index=0)["boxes"]
    np.testing.assert_allclose(two, [[np.nan] * 4, expected], atol=1e-5)


@pytest.mark.parametrize("boxes", [PAIR[1:], PAIR[:0]], ids=["lost", "none"])
def test_a_sample_without_any_box_is_transformed_too(boxes: Any) -> None:
    sample = Augmentation([A.HorizontalFlip(p=1)], seed=0, target=BoxesTarget())(
        {"image": IMAGE, "boxes": boxes}, epoch=0, index=0
    )
    np.testing.assert_array_equal(sample["image"], IMAGE[:, ::-1])
    np.testing.assert_array_equal(sample["boxes"], boxes)


@pytest.mark.parametrize(
    "transform",
    [
        A.Affine(translate_px={"x": 4, "y": 0}, p=1),
        A.OneOf([A.Affine(translate_px={"x": 4, "y": 0}, fill_mask=7, p=1)], p=1),
    ],
    ids=["alone", "nested"],
)
def test_a_mask_moves_with_the_image_and_what_comes_in_is_ignored(transform: Any) -> None:
    mask = np.arange(16, dtype=np.uint8)[None].repeat(16, 0)
    moved = Augmentation([transform], seed=0, target=MaskTarget())({"image": IMAGE, "mask": mask}, epoch=0, index=0)
    assert moved["mask"].dtype == np.uint8
    assert moved["mask"][3].tolist() == [255] * 4 + list(range(12))
    np.testing.assert_array_equal(moved["image"][:, 4:], IMAGE[:, :12])


def test_colours_are_changed_in_the_image_alone() -> None:
    mask = np.ones((16, 16), np.uint8)
    moved = Augmentation([A.InvertImg(p=1)], seed=0, target=MaskTarget())(
        {"image": IMAGE, "mask": mask}, epoch=0, index=0
    )
    np.testing.assert_array_equal(moved["image"], 255 - IMAGE)
    assert (moved["mask"] == 1).all()
