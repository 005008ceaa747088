"""Any number of labels for an image as a whole, each with its own probability."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.outputs.base import (
    MOST_DIFFERENCE,
    TIE,
    ClassProbability,
    Difference,
    Float32Array,
    Output,
    Row,
    Size,
    Values,
    class_line,
    largest_of,
    ranked,
)

SEPARATOR = "|"
"""Between labels in a cell of a table."""


@dataclass(frozen=True, eq=False)
class LabelScores(Output):
    """What is predicted where an image may have several labels, or none.

    Args:
        probability: Of each label, float32 (K,), each in 0..1 by itself.
        threshold: Probability from which on an image has the label, float32 (K,).
    """

    probability: Float32Array
    threshold: Float32Array

    is_of_whole_image = True
    has_threshold = True
    graph_values = (
        "The answer has `probability`, (N, classes), each in 0..1 by itself, and `threshold`, (N, classes): an image "
        "has the labels whose probability reaches it."
    )

    def __post_init__(self) -> None:
        if self.probability.ndim != 1 or self.threshold.shape != self.probability.shape:
            shapes = f"{self.probability.shape} and {self.threshold.shape}"
            raise InputError(f"probability and threshold have the shapes {shapes}, expected (classes,) twice")

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        """See `Output.columns`."""
        return list(_row("", [ClassProbability("", 0.0)] * num_classes))

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        """Mean of the probabilities, and of the thresholds."""
        all_of = list(outputs)
        probability, threshold = (
            np.mean([getattr(output, name) for output in all_of], axis=0) for name in ("probability", "threshold")
        )
        return cls(probability, threshold)

    @classmethod
    def from_graph(cls, values: Values, size: Size) -> Self:
        """See `Output.from_graph`."""
        if set(values) != {"probability", "threshold"}:
            raise InputError(f"the file returns {', '.join(values)}, expected probability and threshold")
        return cls(np.asarray(values["probability"], np.float32), np.asarray(values["threshold"], np.float32))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        """See `Output.from_json`."""
        return cls(np.array(entry["probability"], np.float32), np.array(entry["threshold"], np.float32))

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which labels the image has, (K,)."""
        return np.asarray(self.probability >= self.threshold)

    def with_threshold(self, threshold: float) -> Self:
        """The prediction with one threshold for all labels."""
        return replace(self, threshold=np.full_like(self.threshold, threshold))

    def classes(self, class_names: Sequence[str], top: int | None = None) -> tuple[ClassProbability, ...]:
        """The labels by name, the most probable first, whether the image has them or not."""
        return ranked(self.probability, class_names, top)

    def shown(self, class_names: Sequence[str]) -> list[ClassProbability]:
        """The labels that the image has, the most probable first."""
        has = {*self.label_names(class_names)}
        return [each for each in self.classes(class_names) if each.name in has]

    def label_names(self, class_names: Sequence[str]) -> list[str]:
        """The labels that the image has."""
        return [name for name, present in zip(class_names, self.present, strict=True) if present]

    def flipped(self) -> Self:
        """The same: a mirror image has the same labels."""
        return self

    def class_probability(self) -> Float32Array:
        """See `Output.class_probability`."""
        return self.probability

    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Row]:
        """One row: the labels that the image has, with | between them, then the most probable ones."""
        names = SEPARATOR.join(each.name for each in self.shown(class_names))
        return [_row(names, self.classes(class_names, top))]

    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """A line for each label that the image has."""
        shown = [class_line([each]) for each in self.shown(class_names)]
        return shown or [f"no label (most probable: {class_line(self.classes(class_names, 1))})"]

    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        """The image as it is."""
        return {"": image}

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """See `Output.to_json`."""
        return {"probability": self.probability.tolist(), "threshold": self.threshold.tolist()}

    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        """See `Output.difference`; a label that one has and the other has not is a tie at its threshold."""
        if self.probability.shape != reference.probability.shape:
            raise InputError(
                f"probability has the shape {self.probability.shape}, expected {reference.probability.shape}"
            )
        moved = self.present != reference.present
        flips = moved & ~(np.abs(reference.probability - reference.threshold) <= TIE)
        largest = largest_of(self.probability - reference.probability)
        found = Difference(moved.size, int(flips.sum()), int((moved & ~flips).sum()), {"probability": largest})
        if flips.any():
            found.faults.append(f"{int(flips.sum())} of {moved.size} labels differ")
        if not largest <= MOST_DIFFERENCE:
            found.faults.append(f"a probability differs by {largest:.3g}")
        return found


def _row(names: str, classes: Sequence[ClassProbability]) -> Row:
    row: Row = {"labels": names}
    for rank, each in enumerate(classes, start=1):
        row |= {f"class_{rank}": each.name, f"probability_{rank}": round(each.probability, 6)}
    return row
