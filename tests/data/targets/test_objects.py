"""Objects: any number of them, dropped where a crop leaves less than a tenth, crowds among them."""

from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

from visiontasks.data.datasets.detection_folder import ObjectSource
from visiontasks.data.pipeline.sources import Subset
from visiontasks.data.pipeline.transforms import Augmentation, Others
from visiontasks.data.targets.objects import ObjectsTarget
from visiontasks.errors import InputError
from visiontasks.outputs.found_objects import FoundObjects
from visiontasks.outputs.geometry import place

TARGET = ObjectsTarget()
NONE = np.zeros((0, 4), np.float32)


def sample(*boxes: list[float], crowd: tuple[int, ...] = ()) -> dict[str, Any]:
    """Objects of the classes 0, 1, 2, ... in an image of 100x80."""
    return {
        "image": np.zeros((80, 100, 3), np.uint8),
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.arange(len(boxes)),
        "crowd": np.isin(np.arange(len(boxes)), crowd),
    }


def augmented(given: dict[str, Any], *transforms: Any, epoch: int = 0) -> dict[str, Any]:
    return Augmentation(list(transforms), seed=0, target=TARGET)(given, epoch=epoch, index=0)


def source(*labels: list[int], crowds: tuple[tuple[int, int], ...] = ()) -> ObjectSource:
    """Images with objects of these classes; `crowds` are (image, object)."""
    of_image = [np.array(each, np.int64) for each in labels]
    marks = [np.array([(row, k) in crowds for k in range(len(each))], np.bool_) for row, each in enumerate(labels)]
    boxes = [np.tile(np.array([1, 2, 3, 4], np.float32), (len(each), 1)) for each in labels]
    return ObjectSource([f"{row}.png" for row in range(len(labels))], of_image, boxes, marks)


def test_a_crop_cuts_boxes_and_drops_those_of_which_less_than_a_tenth_is_left() -> None:
    """Columns 40 to 100 stay: of 20 columns 10; of 45 five, 11 %; of 44 four, 9 %; of 40 none; of 2 one, a crowd."""
    given = sample([30, 10, 50, 20], [0, 0, 45, 20], [0, 0, 44, 20], [0, 0, 40, 80], [39, 0, 41, 80], crowd=(4,))
    found = augmented(given, A.Crop(40, 0, 100, 80))
    np.testing.assert_allclose(found["boxes"], [[0, 10, 10, 20], [0, 0, 5, 20], [0, 0, 1, 80]], atol=1e-5)
    assert found["labels"].tolist() == [0, 1, 4]
    assert found["crowd"].tolist() == [False, False, True]
    assert (found["boxes"].dtype, found["labels"].dtype, found["crowd"].dtype) == (np.float32, np.int64, np.bool_)


def test_the_share_is_that_of_the_box_before_each_cut() -> None:
    """20 columns become 4 (a fifth), and these 1 (a quarter): a twentieth in all, and still there."""
    found = augmented(sample([30, 10, 50, 20]), A.Crop(46, 0, 100, 80), A.Crop(3, 0, 54, 80))
    assert found["boxes"].tolist() == [[0, 10, 1, 20]]


def test_crowds_follow_the_same_rule_and_all_may_be_lost() -> None:
    found = augmented(sample([0, 0, 44, 20], [0, 0, 44, 20], crowd=(1,)), A.Crop(40, 0, 100, 80))
    assert (found["boxes"].shape, found["labels"].shape, found["crowd"].shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize(
    "transforms",
    [
        [A.HorizontalFlip(p=1), A.Affine(scale=(0.5, 1.5), rotate=(-10, 10), p=1)],
        [A.AtLeastOneBBoxRandomCrop(40, 40)],
        [A.BBoxSafeRandomCrop()],
        [A.RandomSizedBBoxSafeCrop(50, 50)],
        [A.RandomScale((-0.9, 1), p=1), A.PadIfNeeded(64, 64), A.RandomCrop(64, 64)],  # large scale jitter
        [A.ColorJitter(p=1), A.HorizontalFlip(p=1)],
    ],
)
def test_negatives_pass_every_transform(transforms: list[Any]) -> None:
    for epoch in range(3):
        found = augmented(sample(), *transforms, epoch=epoch)
        assert (found["boxes"].shape, found["labels"].shape, found["crowd"].shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("crop", [A.BBoxSafeRandomCrop(), A.RandomSizedBBoxSafeCrop(50, 50)])
def test_safe_crops_keep_every_object_whole(crop: Any) -> None:
    for epoch in range(5):
        found = augmented(sample([30, 10, 50, 20], [60, 40, 70, 60]), crop, epoch=epoch)
        (first, second), (height, width) = found["boxes"], found["image"].shape[:2]
        assert found["labels"].tolist() == [0, 1]
        # both keep their proportions to each other: 20 to 10 across, 10 to 20 down
        assert (first[2] - first[0]) / (second[2] - second[0]) == pytest.approx(2, rel=1e-4)
        assert (first[3] - first[1]) / (second[3] - second[1]) == pytest.approx(0.5, rel=1e-4)
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"][:, [2, 3]] <= [width, height]).all()


def test_a_flip_moves_boxes_with_the_image_and_keeps_classes_and_crowds() -> None:
    found = augmented(sample([10, 20, 30, 40], [0, 0, 100, 80], crowd=(1,)), A.HorizontalFlip(p=1))
    assert found["boxes"].tolist() == [[70, 20, 90, 40], [0, 0, 100, 80]]
    assert (found["labels"].tolist(), found["crowd"].tolist()) == ([0, 1], [False, True])


def test_the_resize_cuts_and_drops_in_training_only() -> None:
    """4x8 to 4x4 by crop: two columns go at each side; of the last box 0.1 of 2.1 columns is left."""
    given = sample([0, 0, 4, 4], [0, 0, 2, 4], [1, 0, 7, 2], [0, 0, 2.1, 4], crowd=(2,))
    geometry = place((4, 8), (4, 4), "crop")
    trained = TARGET.place(dict(given), geometry, training=True)
    assert trained["boxes"].tolist() == [[0, 0, 2, 4], [0, 0, 4, 2]]
    assert (trained["labels"].tolist(), trained["crowd"].tolist()) == ([0, 2], [False, True])
    evaluated = TARGET.place(dict(given), geometry, training=False)
    assert evaluated is not trained
    assert evaluated["boxes"].tolist() == given["boxes"].tolist()  # of the original, at which it is measured
    assert (evaluated["labels"].tolist(), evaluated["crowd"].tolist()) == ([0, 1, 2, 3], [False, False, True, False])


def test_images_of_two_and_no_objects_are_one_batch() -> None:
    batch = TARGET.collate([sample([0, 0, 1, 1], [1, 1, 2, 3], crowd=(1,)), sample()], training=True)
    assert sorted(batch) == ["boxes", "crowd", "labels"]
    assert [boxes.tolist() for boxes in batch["boxes"]] == [[[0, 0, 1, 1], [1, 1, 2, 3]], []]
    assert [boxes.shape for boxes in batch["boxes"]] == [(2, 4), (0, 4)]
    assert [crowd.tolist() for crowd in batch["crowd"]] == [[False, True], []]
    dtypes = {key: {value.dtype for value in values} for key, values in batch.items()}
    assert dtypes == {"boxes": {torch.float32}, "labels": {torch.int64}, "crowd": {torch.bool}}


def test_the_store_gives_back_what_it_got() -> None:
    batch = TARGET.collate(
        [sample([0, 0, 1, 1], crowd=(0,)), sample(), sample([1, 2, 3, 4], [0, 0, 9, 9])], training=True
    )
    packed = TARGET.pack(batch, 3)
    assert packed["crowd"].tolist() == [[True, False, False], [False] * 3, [False] * 3]
    found = TARGET.unpack(packed)
    for key in ("boxes", "labels", "crowd"):
        for a, b in zip(found[key], batch[key], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


QUARTERS = A.Mosaic(target_size=(100, 100), cell_shape=(100, 100), center_range=(0.5, 0.5), p=1)
"""Of four images the quarters that meet: bottom right, bottom left, top right and top left, in this order."""


def square(*boxes: list[float], labels: tuple[int, ...], crowd: tuple[int, ...] = ()) -> dict[str, Any]:
    """Objects in an image of 100x100."""
    found = sample(*boxes, crowd=crowd)
    return {**found, "image": np.zeros((100, 100, 3), np.uint8), "labels": np.array(labels, np.int64)}


def mosaic(first: dict[str, Any], other: dict[str, Any], transform: Any = QUARTERS, *more: Any) -> dict[str, Any]:
    """The first image in a mosaic with three others that are all alike."""
    augmentation = Augmentation([transform, *more], seed=0, target=TARGET)
    return augmentation(first, epoch=0, index=0, others=Others(5, lambda row: other))


def as_set(found: dict[str, Any]) -> set[tuple[Any, ...]]:
    rows = zip(found["boxes"].round(3).tolist(), found["labels"].tolist(), found["crowd"].tolist(), strict=True)
    return {(*box, label, crowd) for box, label, crowd in rows}


def test_a_mosaic_has_what_its_tiles_leave_of_the_objects_of_all_images() -> None:
    """40 30 to 80 90 has 2,400 px: 30x40 in the first quarter, 10x40, 30x20, and 10x20 in the last, under a tenth."""
    box = [40.0, 30.0, 80.0, 90.0]
    found = mosaic(square(box, labels=(3,)), square(box, labels=(5,), crowd=(0,)))
    assert as_set(found) == {
        (0, 0, 30, 40, 3, False),
        (90, 0, 100, 40, 5, True),
        (0, 80, 30, 100, 5, True),
    }
    assert found["image"].shape == (100, 100, 3)
    assert (found["boxes"].dtype, found["labels"].dtype, found["crowd"].dtype) == (np.float32, np.int64, np.bool_)


def test_a_mosaic_scales_each_image_to_its_tile() -> None:
    """50x50 becomes 100x100, so that 20 15 to 40 45 is the box above; of 200x100 the left 100x100 is the tile."""
    box = [20.0, 15.0, 40.0, 45.0]
    small = {**square(box, labels=(1,)), "image": np.zeros((50, 50, 3), np.uint8)}
    wide = {**square([0.0, 60.0, 80.0, 100.0], labels=(2,)), "image": np.zeros((100, 200, 3), np.uint8)}
    found = as_set(mosaic(small, wide))
    assert found == {(0, 0, 30, 40, 1, False), (50, 10, 100, 50, 2, False)}


def test_boxes_of_a_mosaic_lie_on_its_pixels() -> None:
    first, other = square([5.0, 60.0, 95.0, 80.0], labels=(0,)), square([20.0, 20.0, 90.0, 90.0], labels=(1,))
    for each, level in ((first, 100), (other, 200)):
        x1, y1, x2, y2 = each["boxes"][0].astype(int)
        each["image"][y1:y2, x1:x2] = level
    found = mosaic(first, other, QUARTERS, A.HorizontalFlip(p=1))
    assert len(found["boxes"]) == 4
    for box, label in zip(np.rint(found["boxes"]).astype(int), found["labels"], strict=True):
        x1, y1, x2, y2 = box
        level = 100 * (1 + int(label))
        assert (found["image"][y1:y2, x1:x2] == level).all()
        around = found["image"][max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1]
        assert (around == level).all(2).sum() == (x2 - x1) * (y2 - y1)


def test_images_of_a_mosaic_may_have_no_object() -> None:
    nothing, one = square(labels=()), square([55.0, 55.0, 95.0, 95.0], labels=(4,))
    assert as_set(mosaic(nothing, nothing)) == set()
    assert as_set(mosaic(one, nothing)) == {(5, 5, 45, 45, 4, False)}
    assert as_set(mosaic(nothing, square([5.0, 55.0, 45.0, 95.0], labels=(2,)))) == {(55, 5, 95, 45, 2, False)}


def test_a_mosaic_is_drawn_by_its_probability_and_decided_by_seed_epoch_and_index() -> None:
    half = A.Mosaic(target_size=(100, 100), cell_shape=(100, 100), center_range=(0.1, 0.9), p=0.5)
    augmentation = Augmentation([half], seed=0, target=TARGET)
    read: list[int] = []

    def other(row: int) -> dict[str, Any]:
        read.append(row)
        return square([10.0, 10.0, 90.0, 90.0], labels=(row,))

    def draw(index: int) -> tuple[set[Any], list[int]]:
        read.clear()
        first = square([10.0, 10.0, 90.0, 90.0], labels=(99,))
        return as_set(augmentation(first, epoch=1, index=index, others=Others(7, other))), [*read]

    drawn = [draw(index) for index in range(200)]
    assert 80 <= sum(bool(rows) for _, rows in drawn) <= 120
    assert {len(rows) for _, rows in drawn} == {0, 3}  # images that are not needed are not decoded
    assert {row for _, rows in drawn for row in rows} == set(range(7))
    assert len({str(boxes) for boxes, _ in drawn}) > 80
    assert [draw(index) for index in reversed(range(200))] == drawn[::-1]


@pytest.mark.parametrize("transforms", [[A.HorizontalFlip(), QUARTERS], [A.OneOf([QUARTERS])], [QUARTERS, QUARTERS]])
def test_a_mosaic_comes_first(transforms: list[Any]) -> None:
    with pytest.raises(InputError, match="augment: Mosaic has to be the first transform, once and not inside others"):
        Augmentation(transforms, seed=0, target=TARGET)


def large_scale_jitter(scale: float) -> list[Any]:
    """Ghiasi et al. 2021: scaled against the network's size, then a part of it, or padded; here by a fixed scale."""
    return [
        A.LongestMaxSize(max_size=64),
        A.RandomScale(scale_limit=(scale - 1, scale - 1), p=1),
        A.PadIfNeeded(64, 64, position="top_left", fill=114),
        A.RandomCrop(64, 64),
    ]


def test_large_scale_jitter_pads_a_small_image_and_takes_a_part_of_a_large_one() -> None:
    """100x80 becomes 64x51 (51.2), then 32x25 or 128x102, from which boxes have exactly the shares they had."""
    given = sample([10.0, 20.0, 50.0, 60.0])
    small = augmented(given, *large_scale_jitter(0.5))
    np.testing.assert_allclose(small["boxes"], [[3.2, 6.25, 16, 18.75]], rtol=1e-6)
    assert small["image"].shape == (64, 64, 3)
    assert (small["image"][25:] == 114).all()
    assert (small["image"][:25, 32:] == 114).all()
    large = augmented(given, *large_scale_jitter(2.0))
    assert large["image"].shape == (64, 64, 3)
    x1, y1, x2, y2 = large["boxes"][0].tolist()
    assert x2 - x1 <= 51.2 + 1e-4
    assert y2 - y1 <= 51.0 + 1e-4
    assert min(x1, y1) >= 0
    assert max(x2, y2) <= 64


def test_crowds_are_not_counted_and_not_drawn() -> None:
    whole = source([1, 1, 0], [], [2], crowds=((0, 1), (2, 0)))
    assert TARGET.count(whole, 3).tolist() == [1, 1, 0]
    assert TARGET.count(Subset(whole, np.array([1, 2])), 3).tolist() == [0, 0, 0]
    assert TARGET.most_objects(whole) == 3
    truth = TARGET.truth(sample([0, 0, 1, 1], [1, 1, 2, 3], crowd=(0,)))  # type: ignore[arg-type]
    assert isinstance(truth, FoundObjects)
    assert truth.boxes.tolist() == [[1, 1, 2, 3]]


def test_a_sample_of_several_objects_has_no_class_of_its_own() -> None:
    """Else `check-data` would compare the first objects of two equal images."""
    found = source([1, 0], [])
    assert found.labels.tolist() == [-1, -1]
    assert found.annotation(0)["crowd"].tolist() == [False, False]
    assert found.annotation(1)["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("train", "more"), [(source([], []), ""), (source([0], crowds=((0, 0),)), " that is no crowd")]
)
def test_training_images_without_any_object_are_refused(train: ObjectSource, more: str) -> None:
    with pytest.raises(
        InputError, match=rf"no object{more} in the {len(train)} training images, expected at least one"
    ):
        TARGET.check_sources({"train": train}, ["cat"])


def test_a_class_only_in_test_is_refused_with_its_name_and_one_only_in_train_is_not() -> None:
    with pytest.raises(
        InputError, match=r"the test split has objects of classes without a training object: dog \(2\); add"
    ):
        TARGET.check_sources({"train": source([0]), "test": source([1, 0], [1])}, ["cat", "dog"])
    crowd_only = source([0], [1], crowds=((1, 0),))
    with pytest.raises(InputError, match=r"the val split has objects of classes without a training object: dog \(1\)"):
        TARGET.check_sources({"train": crowd_only, "val": source([1])}, ["cat", "dog"])
    TARGET.check_sources({"train": source([0, 1]), "val": source([0]), "test": source([])}, ["cat", "dog", "cow"])
