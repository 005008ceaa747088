"""Objects: any number of them, dropped where a crop leaves less than a tenth, crowds among them."""

from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

from visiontasks.data.datasets.detection_folder import ObjectSource
from visiontasks.data.pipeline.sources import Subset
from visiontasks.data.pipeline.transforms import Augmentation
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
