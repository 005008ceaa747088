"""Networks of several runs and several views of an image, whose predictions are averaged."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from operator import add
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from visiontasks.class_names import missing_names, same_names
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.geometry import Float32Array, Size
from visiontasks.data.pipeline.loader import collate
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.predict.inputs import Prepared, Preprocessing, preprocessing_of
from visiontasks.predict.memory import bytes_per_pixel
from visiontasks.predict.views import Batch, Tta, View, resized_for, views
from visiontasks.recipe.trained import Trained
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask


class Ensemble:
    """The networks of one or several runs. What they say of an image is averaged over views and runs.

    A single run without test-time augmentation says what its evaluation measured. Otherwise the mean is taken of
    probabilities, of masks those of each pixel at the size of the original image, and of the boxes' coordinates (each
    box is that of its own network's most probable class). Each run counts as much as any other.

    Args:
        runs: With one task and the same classes in the same order; of any image sizes and networks.
        device: Where they compute.
        tta: Test-time augmentation, see `visiontasks.predict.views.views`.

    Attributes:
        preprocessings: The different ways in which the networks are shown images, for
            `visiontasks.predict.inputs.prepare`.

    Raises:
        InputError: If runs do not fit together or to `tta`.
    """

    def __init__(self, runs: Sequence[Trained], device: torch.device, tta: Tta | None) -> None:
        _check_fit(runs)
        _check_views(runs, tta)
        self.runs = tuple(runs)
        self.device = device
        self.tta = tta
        for run in runs:
            run.task.to(device)
        wanted = [preprocessing_of(run, resized_for(run.image_size, tta)) for run in runs]
        self.preprocessings: tuple[Preprocessing, ...] = tuple(dict.fromkeys(wanted))
        self._position = [self.preprocessings.index(preprocessing) for preprocessing in wanted]

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index."""
        return self.runs[0].class_names

    @property
    def has_boxes(self) -> bool:
        """Whether the prediction has boxes."""
        return isinstance(self.runs[0].task, LocalizationTask)

    @property
    def has_masks(self) -> bool:
        """Whether the prediction is a mask."""
        return isinstance(self.runs[0].task, SegmentationTask)

    def memory(self, num_pixels: int) -> int:
        """Bytes that an image of so many pixels takes beside what any image takes.

        Of a mask logits of each class, of several views also their softmax and its sum, and class indices as int64. Of
        an image that keeps its size what its networks make of it.
        """
        parts = 1 if len(self.runs) == 1 and self.tta is None else 3
        mask = 4 * (len(self.class_names) * parts + 2) if self.has_masks else 0
        return int(num_pixels * (mask + self._bytes_per_pixel))

    @cached_property
    def _bytes_per_pixel(self) -> float:
        """Of the networks that see images in one piece at their own size."""
        whole = [run for run in self.runs if run.resize == "keep" and getattr(run.task, "window", None) is None]
        return max((bytes_per_pixel(run.task.predict, self.device) for run in whole), default=0)

    @torch.inference_mode()
    def averaged(self, images: Sequence[Prepared]) -> tuple[Float32Array | None, Float32Array | None]:
        """Classes and boxes of images that could be read, N objects in each.

        Returns:
            Probabilities, (B, N, K); None where the runs tell no classes apart. Boxes in pixels of the originals, not
            cut to them, (B, N, 4); None where the runs predict none.
        """
        batches = self._batches(images)
        probabilities, boxes = [], []
        for run, position in zip(self.runs, self._position, strict=True):
            said = [
                _unmirrored(run.task.predict(view.batch), view)
                for view in views(batches[position], self.tta, run.image_size)
            ]
            if "probability" in said[0]:
                probabilities.append(_mean([view["probability"] for view in said]))
            if "box" in said[0]:
                box = _mean([view["box"] for view in said]).cpu().numpy().reshape(len(images), -1, 4)
                placements = [image.shown[position][1] for image in images]
                boxes.append(np.stack([p.original_boxes(of * p.unit) for p, of in zip(placements, box, strict=True)]))
        shape = len(images), -1, len(self.class_names)
        return (
            _mean(probabilities).cpu().numpy().reshape(shape) if probabilities else None,
            np.mean(boxes, axis=0) if boxes else None,
        )

    @torch.inference_mode()
    def masks(self, images: Sequence[Prepared]) -> Iterator[UInt8Array]:
        """Class indices, uint8, (H, W), of images that could be read, at their own sizes; made one after the other."""
        batches = self._batches(images)
        of_views = [
            _logits(cast(SegmentationTask, run.task), view)
            for run, position in zip(self.runs, self._position, strict=True)
            for view in views(batches[position], self.tta, run.image_size)
        ]
        for _ in images:
            yield _most_probable(map(next, of_views), is_single=len(of_views) == 1)

    def _batches(self, images: Sequence[Prepared]) -> list[Batch]:
        """What the networks are shown, for each preprocessing."""
        return [_batch(images, position, self.device) for position in range(len(self.preprocessings))]


def has_classes(run: Trained) -> bool:
    """Whether a run tells classes apart; one that predicts boxes alone does not."""
    return not isinstance(run.task, LocalizationTask) or cast(Any, run.task.head).classes is not None


def num_objects(run: Trained) -> int:
    """Objects that a run predicts in each image."""
    return int(getattr(run.task, "num_objects", 1))


def _check_fit(runs: Sequence[Trained]) -> None:
    """Refuse runs whose predictions have no mean."""
    first = runs[0]
    for run in runs[1:]:
        kinds = [type(each.task).__name__ for each in (first, run)]
        if kinds[0] != kinds[1]:
            raise InputError(f"{first.run} is of {kinds[0]}, but {run.run} is of {kinds[1]}: give runs of one task")
        _check_same_classes(first, run)
        if has_classes(first) != has_classes(run):
            without = run if has_classes(first) else first
            raise InputError(f"{without.run} predicts boxes alone, the other run classes too: give runs of one kind")
        if max(num_objects(first), num_objects(run)) > 1:
            raise InputError(
                f"{first.run} and {run.run} have several objects per image, which two networks give in different "
                "orders: give a single run"
            )


def _check_same_classes(first: Trained, other: Trained) -> None:
    ours, theirs = first.class_names, other.class_names
    if same_names(ours, theirs):
        return
    missing, surplus = missing_names(theirs, ours), missing_names(ours, theirs)
    differences = [f"the second lacks {listed(missing)}"] if missing else []
    differences += [f"the first lacks {listed(surplus)}"] if surplus else []
    raise InputError(
        f"{first.run} and {other.run} have different classes: {' and '.join(differences) or 'their order differs'}; "
        "give runs that were trained on the same ones"
    )


def _check_views(runs: Sequence[Trained], tta: Tta | None) -> None:
    """Refuse test-time augmentation that a run has no use for."""
    if tta is None:
        return
    if tta not in get_args(Tta):
        raise InputError(f"--tta {tta}: expected one of {', '.join(get_args(Tta))}")
    for run in runs:
        kind = type(run.task).__name__
        if num_objects(run) > 1:
            raise InputError(
                f"--tta {tta}: {run.run} has {num_objects(run)} objects per image, which a network gives in another "
                "order in each view: leave it out"
            )
        if tta == "tencrop" and not isinstance(run.task, ClassificationTask):
            raise InputError(f"--tta tencrop: {run.run} is of {kind}, but a crop lacks a part of the image: use flip")
        if tta == "tencrop" and run.resize == "keep":
            raise InputError(f"--tta tencrop: {run.run} is shown images of any size (resize: keep): use flip")


def _batch(images: Sequence[Prepared], position: int, device: torch.device) -> Batch:
    """What the networks of a preprocessing are shown."""
    shown = [(*image.shown[position], cast(Size, image.size)) for image in images]
    # a JPEG may have been decoded smaller than its own size
    batch = collate([{"image": pixels, "geometry": replace(at, size=size).row()} for pixels, at, size in shown])
    return {key: values.to(device) for key, values in batch.items()}


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return reduce(add, parts) / len(parts)


def _unmirrored(said: Batch, view: View) -> Batch:
    """Predictions of a view with boxes (..., 4), xyxy in 0..1, as they lie in the image itself."""
    if not view.mirrored or "box" not in said:
        return said
    x1, y1, x2, y2 = said["box"].unbind(-1)
    return {**said, "box": torch.stack([1 - x2, y1, 1 - x1, y2], -1)}


def _logits(task: SegmentationTask, view: View) -> Iterator[Tensor]:
    """Logits (K, H, W) of each image at its original size, as they lie in the image itself."""
    for logits in task.original_logits(view.batch):
        yield logits.flip(-1) if view.mirrored else logits


def _most_probable(logits: Iterable[Tensor], *, is_single: bool) -> UInt8Array:
    """Class of each pixel, (H, W), from the logits (K, H, W) of each view, of which one at a time is held."""
    scores = (of_view if is_single else of_view.softmax(0) for of_view in logits)
    return reduce(Tensor.add_, scores).argmax(0).to(torch.uint8).cpu().numpy()
