"""Averages over runs and views, with networks whose outputs can be worked out by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.predict.ensemble import Ensemble
from visiontasks.predict.inputs import prepare
from visiontasks.recipe.open_run import FinishedRun
from visiontasks.runs.provenance import Provenance
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask

CPU = torch.device("cpu")


class Channels(nn.Module):
    """Logits (B, 3) that are the mean of each channel, or (B, 3, H, W) that are the pixels."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, image: Tensor, *size: Any) -> Tensor:
        return self.factor * image


class Mean(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.mean((2, 3))


class Steady(nn.Module):
    """The same logits and box for any image."""

    def __init__(self, box: list[float], logits: list[float] | None) -> None:
        super().__init__()
        self.box = torch.tensor(box)
        self.logits = logits
        self.classes = None if logits is None else nn.Identity()

    def forward(self, feature: Tensor, feature_map: Tensor) -> Any:
        n = len(feature)
        logits = None if self.logits is None else torch.tensor(self.logits).expand(n, 1, -1)
        return logits, self.box.expand(n, 1, 4)


def as_trained(task: Any, name: str = "run", classes: str = "red green blue", **options: Any) -> FinishedRun:
    settings = {"image_size": (2, 4), "resize": "squash"} | options
    recipe = {"data": {"class_path": "visiontasks.ImageFolder", "init_args": {"batch_size": 4}}}
    provenance = Provenance("", tuple(classes.split()), mean=(), std=(), **settings)
    return FinishedRun(Path(name), task.eval(), provenance, recipe)


def colours(factor: float = 0.01, **options: Any) -> FinishedRun:
    """A classifier whose logits are `factor` times the mean red, green and blue, 0..255."""
    task = ClassificationTask("lenet5", weights="none", num_classes=3, in_chans=3)
    task.backbone, task.head = Channels(factor), Mean()
    task.mean.zero_()
    task.std.fill_(1)
    return as_trained(task, **options)


def pixel_colours(factor: float = 1.0, **options: Any) -> FinishedRun:
    """Masks of the strongest channel of each pixel."""
    task = SegmentationTask("resnet20_cifar", weights="none", num_classes=3)
    task.backbone, task.head = Channels(1.0), Channels(factor)
    task.mean.zero_()
    task.std.fill_(1)
    return as_trained(task, **options)


def boxes(box: list[float], logits: list[float] | None = None, **options: Any) -> FinishedRun:
    task = LocalizationTask("lenet5", weights="none", num_classes=3, in_chans=3, box_grid=0)
    task.head = Steady(box, logits)
    return as_trained(task, **{"image_size": (16, 16)} | options)


def outputs(ensemble: Ensemble, *images: Any) -> list[Any]:
    return list(ensemble.predict([prepare(i, image, ensemble.preprocessings) for i, image in enumerate(images)]))


def probabilities(ensemble: Ensemble, *images: Any) -> Any:
    return np.stack([output.class_probability() for output in outputs(ensemble, *images)])


def corners(ensemble: Ensemble, *images: Any) -> Any:
    """Boxes, not cut to the image, (B, 4)."""
    return np.stack([output.boxes[0] for output in outputs(ensemble, *images)]).tolist()


def masks(ensemble: Ensemble, *images: Any) -> list[Any]:
    return [output.mask for output in outputs(ensemble, *images)]


def softmax(*logits: float) -> list[float]:
    exponents = np.exp(logits)
    return (exponents / exponents.sum()).tolist()  # type: ignore[no-any-return]


def painted(*colour: int, height: int = 4, width: int = 8) -> Any:
    return np.full((height, width, 3), colour, np.uint8)


def test_one_run_predicts_what_its_task_predicts() -> None:
    probability = probabilities(Ensemble([colours()], CPU, None), painted(100, 0, 0), painted(0, 0, 200))
    np.testing.assert_allclose(probability, [softmax(1, 0, 0), softmax(0, 0, 2)], rtol=1e-6)


def test_probabilities_of_runs_are_averaged_and_not_their_logits() -> None:
    runs = [colours(0.01), colours(0.03, image_size=(3, 3))]
    (probability,) = probabilities(Ensemble(runs, CPU, None), painted(100, 0, 0))
    expected = np.mean([softmax(1, 0, 0), softmax(3, 0, 0)], axis=0)
    np.testing.assert_allclose(probability, expected, rtol=1e-6)


def test_each_run_counts_as_much_as_another_with_many_views_too() -> None:
    runs = [colours(0.01), colours(0.03)]
    (probability,) = probabilities(Ensemble(runs, CPU, "tencrop"), painted(100, 0, 0))
    np.testing.assert_allclose(probability, np.mean([softmax(1, 0, 0), softmax(3, 0, 0)], axis=0), rtol=1e-6)


def test_ten_crops_cover_the_corners_and_the_middle() -> None:
    run = colours(image_size=(7, 7))  # crops of 7x7 of 8x8
    image = painted(0, 0, 0, height=8, width=8)
    image[0, 0] = (245, 0, 0)  # in the crop at the upper left and, at (0, 0) too, by the one in the middle
    (probability,) = probabilities(Ensemble([run], CPU, "tencrop"), image)
    inside, outside = softmax(0.01 * 245 / 49, 0, 0), softmax(0, 0, 0)
    np.testing.assert_allclose(probability, (4 * np.array(inside) + 6 * np.array(outside)) / 10, rtol=1e-6)


def test_features_that_a_task_leaves_in_a_batch_do_not_reach_the_next_task() -> None:
    first, second = (ClassificationTask("lenet5", weights="none", num_classes=3, in_chans=3) for _ in range(2))
    assert first.has_fixed_features
    for task in (first, second):
        torch.nn.init.normal_(task.head.linear.weight)
    runs = [as_trained(task, image_size=(32, 32)) for task in (first, second)]
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    both = probabilities(Ensemble(runs, CPU, None), image)
    each = [probabilities(Ensemble([run], CPU, None), image) for run in runs]
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(both, np.mean(each, axis=0), rtol=1e-6)


def test_boxes_are_in_pixels_of_the_original_image() -> None:
    run, image = boxes([0.25, 0.25, 0.75, 0.5], resize="squash"), painted(0, 0, 0, height=40, width=80)
    cropped, padded = (replace(run, provenance=replace(run.provenance, resize=r)) for r in ("crop", "letterbox"))
    assert corners(Ensemble([run], CPU, None), image) == [[20, 10, 60, 20]]
    # 40 high, 80 wide: the middle 40x40, from x = 20 on
    assert corners(Ensemble([cropped], CPU, None), image) == [[30, 10, 50, 20]]
    # 16 wide is 80, 8 of 16 high is 40, with 4 above and below
    assert corners(Ensemble([padded], CPU, None), image) == [[20, 0, 60, 20]]


def test_a_mirrored_box_is_mirrored_back_before_the_mean() -> None:
    run = boxes([0.125, 0.25, 0.375, 0.5], [1.0, 0.0, 0.0])
    (output,) = outputs(Ensemble([run], CPU, "flip"), painted(0, 0, 0, height=16, width=16))
    assert output.boxes.tolist() == [[6, 4, 10, 8]]  # the mean of x 2..6 and of 10..14
    np.testing.assert_allclose(output.probability[0], softmax(1, 0, 0), rtol=1e-6)


def test_boxes_of_runs_are_averaged_in_the_original_image() -> None:
    runs = [boxes([0, 0, 0.5, 0.5]), boxes([0.5, 0.5, 1, 1], resize="crop", image_size=(20, 20))]
    found = corners(Ensemble(runs, CPU, None), painted(0, 0, 0, height=10, width=20))
    assert found == [[(0 + 10) / 2, (0 + 5) / 2, (10 + 15) / 2, (5 + 10) / 2]]


def test_masks_have_the_size_of_the_original_image() -> None:
    image = painted(0, 0, 0, height=4, width=8)
    image[:, :4], image[:, 4:] = (200, 0, 0), (0, 0, 200)
    (mask,) = masks(Ensemble([pixel_colours()], CPU, None), image)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[0] * 4 + [2] * 4] * 4


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
def test_a_mirrored_mask_is_mirrored_back(resize: str) -> None:
    image = painted(0, 0, 0, height=4, width=6)
    image[:, :2], image[:, 2:4], image[:, 4:] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    run = pixel_colours(resize=resize, image_size=(7, 6))  # of letterbox an odd border
    plain, mirrored = (masks(Ensemble([run], CPU, tta), image)[0] for tta in (None, "flip"))
    assert plain.tolist() == mirrored.tolist() == [[0, 0, 1, 1, 2, 2]] * 4


def test_probabilities_of_pixels_are_averaged() -> None:
    image = painted(110, 100, 0)
    weak, contrary = pixel_colours(0.01), pixel_colours(-1.0)
    # weak: red a little before green, blue at 0.2; contrary: blue at 1, red and green at 0
    (mask,) = masks(Ensemble([weak, contrary], CPU, None), image)
    assert set(mask.ravel().tolist()) == {2}
    assert set(masks(Ensemble([weak], CPU, None), image)[0].ravel().tolist()) == {0}


def test_runs_whose_predictions_have_no_mean_are_refused() -> None:
    run, other = colours(name="a"), colours(name="b", classes="red green black")
    with pytest.raises(InputError, match=r"a and b have different classes: blue missing in the second and black mi"):
        Ensemble([run, other], CPU, None)
    with pytest.raises(InputError, match="different classes: their order differs; give runs"):
        Ensemble([run, colours(name="b", classes="green red blue")], CPU, None)
    with pytest.raises(InputError, match="a is of ClassificationTask, but b is of SegmentationTask"):
        Ensemble([run, pixel_colours(name="b")], CPU, None)
    box = [0.0, 0.0, 1.0, 1.0]
    with pytest.raises(InputError, match="b predicts boxes alone, the other run classes too"):
        Ensemble([boxes(box, [0, 0, 0], name="a"), boxes(box, name="b")], CPU, None)


def test_several_objects_have_no_order_that_two_networks_or_views_share() -> None:
    runs = [as_trained(LocalizationTask("lenet5", weights="none", num_classes=3, in_chans=3, num_objects=2))] * 2
    with pytest.raises(InputError, match="several objects per image.* give a single run"):
        Ensemble(runs, CPU, None)
    with pytest.raises(InputError, match="--tta flip: run predicts several objects per image"):
        Ensemble(runs[:1], CPU, "flip")


def test_ten_crops_are_refused_where_a_crop_is_not_enough() -> None:
    with pytest.raises(InputError, match="--tta tencrop: run is of SegmentationTask, .*: use flip"):
        Ensemble([pixel_colours()], CPU, "tencrop")
    with pytest.raises(InputError, match="--tta tencrop: run takes images of any size .resize: keep.: use flip"):
        Ensemble([colours(resize="keep")], CPU, "tencrop")
    with pytest.raises(InputError, match="--tta twice: expected one of flip, tencrop"):
        Ensemble([colours()], CPU, "twice")  # type: ignore[arg-type]


def test_the_memory_of_a_mask_is_that_of_its_classes() -> None:
    make: Callable[..., Ensemble] = lambda n, tta: Ensemble([pixel_colours()] * n, CPU, tta)  # noqa: E731
    assert make(1, None).memory(1000) == 4 * 1000 * (3 + 2)
    assert make(1, "flip").memory(1000) == make(2, None).memory(1000) == 4 * 1000 * (9 + 2)
    assert Ensemble([colours()], CPU, None).memory(1000) == 0


def test_an_image_that_keeps_its_size_takes_what_its_network_makes_of_it() -> None:
    # normalized from bytes, and times a factor: no more than four times 3 channels of 4 bytes live at once
    assert 24_000 <= Ensemble([colours(resize="keep")], CPU, None).memory(1000) <= 48_000
    in_windows = pixel_colours(resize="keep")
    in_windows.task.window = (64, 64)
    assert Ensemble([in_windows], CPU, None).memory(1000) == 4 * 1000 * (3 + 2)


def test_a_task_that_decodes_too_few_predictions_is_named() -> None:
    run = colours()
    decode = run.task.decode
    run.task.decode = lambda raw, geometry: iter([next(decode(raw, geometry))])
    with pytest.raises(InputError, match="ClassificationTask.decode gives 1 prediction for 2 images"):
        outputs(Ensemble([run], CPU, None), painted(1, 2, 3), painted(4, 5, 6))
