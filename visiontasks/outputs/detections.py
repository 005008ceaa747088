"""Boxes in an image, with their classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.ops.boxes import iou
from visiontasks.outputs.base import (
    Box,
    ClassProbability,
    Difference,
    Float32Array,
    Row,
    Size,
    Values,
    class_columns,
    class_line,
    class_row,
    compare_classes,
    largest_of,
    ranked,
)
from visiontasks.outputs.boxes import CORNERS, BoxOutput, corner_values, named_boxes
from visiontasks.outputs.drawing import PREDICTED_BOX_COLOUR, TRUE_BOX_COLOUR, draw_boxes, draw_names

LEAST_IOU = 0.99
"""Of a box with its reference."""
MOST_BOX_SHIFT = 1.0
"""Pixels of the network's image by which a side may differ instead: of tiny boxes the IoU is small at once."""


@dataclass(frozen=True, eq=False)
class Detections(BoxOutput):
    """What is predicted by localization, N objects.

    Args:
        size: Height and width of the image.
        boxes: xyxy in pixels of the image, float32 (N, 4), not cut to it. Of an annotation a row of NaN is no box.
        probability: Of the classes of each object, float32 (N, K); None where no classes are predicted.
        is_single: Whether the task predicts exactly one box of each image, whose values have no dimension N in files.
        labels: Of an annotation the class of each object, int64 (N,); None where that is not known.
    """

    probability: Float32Array | None = None
    is_single: bool = True
    labels: npt.NDArray[np.int64] | None = None

    graph_values = (
        "The answer has `box`, (N, 4), x1 y1 x2 y2 in pixels of the image, and `probability`, (N, classes), where "
        "there are classes; with several objects per image (N, objects, ...)."
    )

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        """See `Output.columns`."""
        return [*class_columns(num_classes), *CORNERS]

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        """Mean of coordinates and probabilities, which needs one box of each image."""
        averaged = list(outputs)
        if len(averaged) == 1:
            return averaged[0]
        probabilities = [output.probability for output in averaged if output.probability is not None]
        return replace(
            averaged[0],
            boxes=np.mean([output.boxes for output in averaged], axis=0),
            probability=np.mean(probabilities, axis=0) if probabilities else None,
        )

    @classmethod
    def from_graph(cls, values: Values, size: Size) -> Self:
        """See `Output.from_graph`."""
        if "box" not in values or not set(values) <= {"box", "probability"}:
            raise InputError(f"the file returns {', '.join(values)}, expected box and probability")
        arrays = {name: np.asarray(each, np.float32) for name, each in values.items()}
        is_single = arrays["box"].ndim == 1
        if is_single:
            arrays = {name: each[None] for name, each in arrays.items()}
        return cls(size, arrays["box"], arrays.get("probability"), is_single)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        """See `Output.from_json`."""
        values = {name: np.array(entry[name], np.float32) for name in ("box", "probability") if name in entry}
        return cls.from_graph(values, (entry["height"], entry["width"]))

    @classmethod
    def from_table(cls, values: Mapping[str, float], size: Size) -> Self | None:
        """See `Output.from_table`; of several objects the table has no boxes."""
        if not set(CORNERS) <= values.keys():
            return None
        return cls(size, np.array([[values[name] for name in CORNERS]], np.float32))

    @property
    def cut(self) -> Float32Array:
        """Boxes cut to the image, (N, 4)."""
        height, width = self.size
        return self.boxes.clip(0, np.array([width, height, width, height], np.float32))

    def named(self, class_names: Sequence[str], top: int | None = None) -> tuple[Box, ...]:
        """Boxes, cut to the image, with their classes by name."""
        classes: list[tuple[ClassProbability, ...]] = [()] * len(self.boxes)
        if self.probability is not None:
            classes = [ranked(row, class_names, top) for row in self.probability]
        return named_boxes(self.cut, classes)

    def class_probability(self) -> Float32Array | None:
        """Of several objects the largest one."""
        return None if self.probability is None else np.asarray(self.probability.max(0), np.float32)

    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Row]:
        """A row for each object."""
        return [{**class_row(box.classes), **corner_values(box)} for box in self.named(class_names, top)]

    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """A line for each object."""
        lines = []
        for box in self.named(class_names, top):
            corners = f"box {box.x1:.0f} {box.y1:.0f} {box.x2:.0f} {box.y2:.0f}"
            lines.append("  ".join([class_line(box.classes), corners] if box.classes else [corners]))
        return lines

    def caption(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """The most probable class of each box."""
        return self.lines(class_names, top=1)

    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        """Boxes in one picture; beside the truth, predicted ones are dashed."""
        drawn = image.copy()
        if truth is not None:
            draw_boxes(drawn, truth.shares, TRUE_BOX_COLOUR, dashed=False)
        draw_boxes(drawn, self.shares, PREDICTED_BOX_COLOUR, dashed=truth is not None)
        return {"": drawn}

    def draw_annotation(self, image: Image.Image, class_names: Sequence[str]) -> Image.Image:
        """Boxes in the colour of true ones, with the names of their classes where there are several."""
        drawn = image.copy()
        draw_boxes(drawn, self.shares, TRUE_BOX_COLOUR, dashed=False)
        if self.labels is not None and len(class_names) > 1:
            draw_names(drawn, self.shares, [class_names[k] for k in self.labels.tolist()], TRUE_BOX_COLOUR)
        return drawn

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """See `Output.to_json`."""
        values = {"box": self.cut} | ({} if self.probability is None else {"probability": self.probability})
        return {key: (each[0] if self.is_single else each).tolist() for key, each in values.items()}

    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        """Classes, probabilities and boxes, except boxes of classes that tie: each class may have its own."""
        if self.boxes.shape != reference.boxes.shape or (self.probability is None) != (reference.probability is None):
            raise InputError(f"box has the shape {self.boxes.shape}, expected {reference.boxes.shape}")
        found = Difference()
        moved = np.zeros(len(self.boxes), np.bool_)
        if self.probability is not None and reference.probability is not None:
            moved = compare_classes(self.probability, reference.probability, found)
        self._compare_boxes(reference.cut, ~moved, unit, found)
        return found

    def _compare_boxes(
        self, expected: Float32Array, counts: npt.NDArray[np.bool_], unit: float, found: Difference
    ) -> None:
        own = self.cut
        shift = np.abs(own - expected).max(-1) / unit
        overlap = iou(torch.from_numpy(np.ascontiguousarray(own)), torch.from_numpy(np.ascontiguousarray(expected)))
        overlaps = np.where(shift == 0, 1, overlap.numpy())  # of a box without area too
        found.figures["box_px"] = worst = largest_of(shift[counts])
        found.figures["box_iou"] = min([1.0, *overlaps[counts].tolist()])
        if (counts & ~((overlaps >= LEAST_IOU) | (shift <= MOST_BOX_SHIFT))).any():
            found.faults.append(f"a box differs by {worst:.3g} px of the network's image")
