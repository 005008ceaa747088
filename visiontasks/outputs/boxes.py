"""What outputs with boxes share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from visiontasks.outputs.base import Box, ClassProbability, Float32Array, LegendEntry, Output, Row, Size
from visiontasks.outputs.drawing import PREDICTED_BOX_COLOUR, TRUE_BOX_COLOUR

CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, eq=False)
class BoxOutput(Output):
    """N boxes in an image.

    Args:
        size: Height and width of the image.
        boxes: xyxy in pixels of the image, float32 (N, 4).
    """

    size: Size
    boxes: Float32Array

    legend_names: ClassVar[tuple[str, str]] = ("true box", "predicted box")

    @property
    def image_size(self) -> Size:
        """See `Output.image_size`."""
        return self.size

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Boxes as shares of the image's width and height, (N, 4)."""
        height, width = self.size
        return np.asarray(self.boxes / np.array([width, height, width, height], np.float64))

    def classes(self, class_names: Sequence[str], top: int | None = None) -> tuple[ClassProbability, ...]:
        """Those of the object in the box, where there is one box."""
        boxes = self.named(class_names, top)
        return boxes[0].classes if len(boxes) == 1 else ()

    def legend(self, class_names: Sequence[str], truth: Self | None = None) -> list[LegendEntry]:
        """Lines of true and dashed lines of predicted boxes, where there is a truth."""
        if truth is None:
            return []
        true, predicted = self.legend_names
        return [LegendEntry(true, TRUE_BOX_COLOUR, "line"), LegendEntry(predicted, PREDICTED_BOX_COLOUR, "dashed line")]

    def flipped(self) -> Self:
        """Left and right exchanged."""
        x1, y1, x2, y2 = np.moveaxis(self.boxes, -1, 0)
        width = np.float32(self.size[1])
        return replace(self, boxes=np.stack([width - x2, y1, width - x1, y2], -1))


def named_boxes(boxes: Float32Array, classes: Sequence[tuple[ClassProbability, ...]]) -> tuple[Box, ...]:
    """Boxes, (N, 4), with the classes of each."""
    corners: list[list[float]] = boxes.tolist()
    return tuple(Box(x1, y1, x2, y2, each) for (x1, y1, x2, y2), each in zip(corners, classes, strict=True))


def corner_values(box: Box) -> Row:
    """Rounded corners as values of a row."""
    return {name: round(getattr(box, name), 2) for name in CORNERS}
