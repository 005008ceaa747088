"""Any number of objects in an image, each with a box, a class and a score."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from visiontasks.errors import InputError
from visiontasks.outputs.base import (
    Box,
    ClassProbability,
    Difference,
    Float32Array,
    Row,
    Size,
    Values,
    largest_of,
)
from visiontasks.outputs.box_fusion import fuse, ious
from visiontasks.outputs.boxes import CORNERS, BoxOutput, corner_values, named_boxes
from visiontasks.outputs.drawing import PREDICTED_BOX_COLOUR, TRUE_BOX_COLOUR, Colour, class_colours, draw_boxes

Int64Array = npt.NDArray[np.int64]

MOST_BOX_SHIFT = 0.5
"""Pixels of the network's image by which a side may differ from its reference's."""
MOST_SCORE_DIFFERENCE = 0.01
LEAST_SAME_IOU = 0.5
"""Of two detections of one object, of which suppression leaves the one with the higher score."""


@dataclass(frozen=True, eq=False)
class FoundObjects(BoxOutput):
    """What is predicted by detection: N objects, of which those are shown whose score reaches a threshold.

    The others are for averages with other predictions, and for measures that go over all scores.

    Args:
        size: Height and width of the image.
        boxes: xyxy in pixels of the image, float32 (N, 4).
        scores: In 0..1, the highest first, float32 (N,).
        labels: Class indices, int64 (N,).
        num_classes: K; 0 where it is not known, as of an annotation.
        threshold: Score that an object needs to be shown.
        most: How many are kept of an image; None where that is not known.
    """

    scores: Float32Array
    labels: Int64Array
    num_classes: int = 0
    threshold: float = 0.0
    most: int | None = None

    label_formats = ("coco", "yolo")
    has_threshold = True
    legend_names = ("true object", "detection with its score")
    graph_values = (
        "The answer has `boxes`, (N, most, 4), x1 y1 x2 y2 in pixels of the image, `scores`, (N, most), the highest "
        "first and 0 where there is no further object, and `labels`, (N, most), class indices."
    )

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            shapes = f"{self.boxes.shape}, {self.scores.shape}, {self.labels.shape}"
            raise InputError(f"boxes, scores and labels have the shapes {shapes}, expected (N, 4), (N,), (N,)")

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        """See `Output.columns`."""
        return ["class", "score", *CORNERS]

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        """Weighted boxes fusion, see `visiontasks.outputs.box_fusion.fuse`; the threshold is the mean of theirs."""
        all_of = list(outputs)
        first = all_of[0]
        if len(all_of) == 1:
            return first
        boxes, scores, labels = fuse([(each.boxes, each.scores, each.labels) for each in all_of])
        threshold = float(np.mean([each.threshold for each in all_of]))
        return replace(first, boxes=boxes, scores=scores, labels=labels, threshold=threshold)

    @classmethod
    def from_graph(cls, values: Values, size: Size) -> Self:
        """See `Output.from_graph`."""
        if set(values) != {"boxes", "scores", "labels"}:
            raise InputError(f"the file returns {', '.join(values)}, expected boxes, scores and labels")
        there = values["scores"] > 0
        boxes = np.asarray(values["boxes"][there], np.float32)
        return cls(size, boxes, np.asarray(values["scores"][there], np.float32), values["labels"][there].astype(int))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        """See `Output.from_json`."""
        boxes = np.array(entry["boxes"], np.float32).reshape(-1, 4)
        scores, labels = np.array(entry["scores"], np.float32), np.array(entry["labels"], np.int64)
        size, threshold = (entry["height"], entry["width"]), entry.get("threshold", 0.0)
        return cls(size, boxes, scores, labels, threshold=threshold)

    def with_threshold(self, threshold: float) -> Self:
        """See `Output.with_threshold`."""
        return replace(self, threshold=threshold)

    @property
    def shown(self) -> Self:
        """Those whose score reaches the threshold."""
        return self._where(self.scores >= np.float32(self.threshold))

    def named(self, class_names: Sequence[str], top: int | None = None) -> tuple[Box, ...]:
        """What is shown, with the class by name and its score in place of a probability."""
        found = self.shown
        classes = [
            (ClassProbability(class_names[k], float(score)),)
            for k, score in zip(found.labels, found.scores, strict=True)
        ]
        return named_boxes(found.boxes, classes)

    def class_probability(self) -> Float32Array | None:
        """The highest score of each class, (K,)."""
        if not self.num_classes:
            return None
        best = np.zeros(self.num_classes, np.float32)
        np.maximum.at(best, self.labels, self.scores)
        return best

    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Row]:
        """A row for each object that is shown, and an empty one where there is none, so that no image is lost."""
        found = [
            {
                "class": box.classes[0].name,
                "score": round(box.classes[0].probability, 6),
                **corner_values(box),
            }
            for box in self.named(class_names)
        ]
        return found or [{}]

    def coco_results(self) -> list[Row]:
        """What is shown, see `Output.coco_results`."""
        found = self.shown
        return [
            {
                "category_id": label + 1,
                "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                "score": round(score, 6),
            }
            for (x1, y1, x2, y2), label, score in zip(
                found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
            )
        ]

    def yolo_lines(self) -> list[str]:
        """What is shown, see `Output.yolo_lines`."""
        found = self.shown
        x1, y1, x2, y2 = found.shares.T
        values = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, found.scores], 1)
        return [
            " ".join([str(label), *(f"{value:.6f}" for value in row)])
            for label, row in zip(found.labels.tolist(), values.tolist(), strict=True)
        ]

    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """Each object that is shown."""
        lines = [
            f"{_label(box)}  box {box.x1:.0f} {box.y1:.0f} {box.x2:.0f} {box.y2:.0f}" for box in self.named(class_names)
        ]
        return lines or ["no object"]

    def caption(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """Nothing: classes and scores are in the picture."""
        return []

    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        """Boxes with class and score, each class in its colour; beside the truth, predicted ones are dashed."""
        drawn = image.copy()
        if truth is not None:
            draw_boxes(drawn, truth.shares, TRUE_BOX_COLOUR, dashed=False)
            _write_labels(drawn, truth, [class_names[k] for k in truth.labels], [TRUE_BOX_COLOUR] * len(truth.labels))
        found = self.shown
        labels = [_label(box) for box in self.named(class_names)]
        colours: list[Colour] = [PREDICTED_BOX_COLOUR] * len(labels)
        if truth is None:
            of_classes = class_colours(class_names)
            colours = [of_classes[k] for k in found.labels]
        for box, colour in zip(found.shares, colours, strict=True):
            draw_boxes(drawn, box[None], colour, dashed=truth is not None)
        _write_labels(drawn, found, labels, colours, at_bottom=truth is not None)
        return {"": drawn}

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """What is shown, and the threshold by which."""
        found = self.shown
        values = {"boxes": found.boxes.tolist(), "scores": found.scores.tolist(), "labels": found.labels.tolist()}
        return {**values, "threshold": self.threshold}

    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        """Pair what is shown with what is shown of the reference: of one class, the nearest boxes first.

        A tie is an object that one of them does not have, and whose score is at the threshold, or at the lowest score
        of the other one where that has as many objects as are kept.
        """
        found = Difference(figures={"score": 0.0, "box_px": 0.0})
        ours, theirs = self.shown, reference.shown
        shift = _shifts(ours, theirs) / unit
        for our, their in _paired(shift):
            found.classes += 1
            apart = float(shift[our, their])
            differs = largest_of(ours.scores[our : our + 1] - theirs.scores[their : their + 1])
            found.figures["box_px"] = max(found.figures["box_px"], apart)
            found.figures["score"] = max(found.figures["score"], differs)
            if not apart <= MOST_BOX_SHIFT:
                found.faults.append(f"a box differs by {apart:.3g} px of the network's image")
            if not differs <= MOST_SCORE_DIFFERENCE:
                found.faults.append(f"a score differs by {differs:.3g}")
        self._count_alone(ours, theirs, shift, found, reference.threshold)
        return found

    def _count_alone(self, ours: Self, theirs: Self, shift: Float32Array, found: Difference, threshold: float) -> None:
        """Count objects without a partner."""
        pairs, most = _paired(shift), self.most or theirs.most
        alone = [
            *((float(ours.scores[i]), theirs) for i in range(len(ours.scores)) if i not in {our for our, _ in pairs}),
            *((float(theirs.scores[i]), ours) for i in range(len(theirs.scores)) if i not in {i for _, i in pairs}),
        ]
        for score, other in alone:
            is_full = most is not None and len(other.scores) >= most
            limit = float(other.scores.min()) if is_full else threshold
            is_tie = abs(score - limit) <= MOST_SCORE_DIFFERENCE
            found.classes += 1
            found.ties += is_tie
            found.flips += not is_tie
        found.figures["unpaired_objects"] = float(found.flips)
        if found.flips:
            found.faults.insert(0, f"{found.flips} of {found.classes} objects are found by one of the two only")

    def _where(self, chosen: npt.NDArray[np.bool_]) -> Self:
        return replace(self, boxes=self.boxes[chosen], scores=self.scores[chosen], labels=self.labels[chosen])


def _label(box: Box) -> str:
    return f"{box.classes[0].name}  {box.classes[0].probability:.2f}"


def _shifts(ours: FoundObjects, theirs: FoundObjects) -> Float32Array:
    """How far boxes are apart at most, in pixels of the image (N, M); infinite for other classes and objects."""
    apart = np.abs(ours.boxes[:, None] - theirs.boxes[None]).max(-1)
    same = (ours.labels[:, None] == theirs.labels[None]) & (ious(ours.boxes, theirs.boxes) >= LEAST_SAME_IOU)
    near = same | ((ours.labels[:, None] == theirs.labels[None]) & (apart <= MOST_BOX_SHIFT))
    return np.where(near, apart, np.float32(np.inf))


def _paired(shift: Float32Array) -> list[tuple[int, int]]:
    """Rows and columns of the nearest ones, each once."""
    left, pairs = shift.copy(), []
    while left.size and np.isfinite(left).any():
        row, column = np.unravel_index(left.argmin(), left.shape)
        pairs.append((int(row), int(column)))
        left[row], left[:, column] = np.inf, np.inf
    return pairs


def _write_labels(
    image: Image.Image,
    objects: FoundObjects,
    labels: Sequence[str],
    colours: Sequence[Colour],
    *,
    at_bottom: bool = False,
) -> None:
    """Write a label above each box, or below it; inside where the picture ends. The image is changed."""
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(11, round(min(image.size) / 28)))
    corners = objects.shares * np.array([*image.size, *image.size])
    for (x1, y1, _, y2), label, colour in zip(corners.tolist(), labels, colours, strict=True):
        left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
        width, height = right - left + 6, bottom - top + 4
        x = min(max(0, x1 - 1), max(0, image.width - width))
        y = (y2 + 1 if y2 + height <= image.height else y2 - height) if at_bottom else y1 - height
        y = y1 if y < 0 else y
        draw.rectangle((x, y, x + width, y + height), fill=colour)
        is_light = sum(weight * part for weight, part in zip((0.3, 0.59, 0.11), colour, strict=True)) > 140
        draw.text((x + 3 - left, y + 2 - top), label, font=font, fill=(0, 0, 0) if is_light else (255, 255, 255))
