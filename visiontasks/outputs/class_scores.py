"""Probabilities of the classes of an image as a whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.outputs.base import (
    ClassProbability,
    Difference,
    Float32Array,
    Output,
    Row,
    Size,
    Values,
    class_columns,
    class_line,
    class_row,
    compare_classes,
    ranked,
)


@dataclass(frozen=True, eq=False)
class ClassScores(Output):
    """What is predicted by classification.

    Args:
        probability: Of each class, float32 (K,), sum 1.
    """

    probability: Float32Array

    is_of_whole_image = True
    has_one_class = True
    table_columns = ("label", "predicted", "probability", "score")
    graph_values = "The answer has `probability`, (N, classes)."

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        """See `Output.columns`."""
        return class_columns(num_classes)

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        """Mean of the probabilities."""
        return cls(np.mean([output.probability for output in outputs], axis=0))

    @classmethod
    def from_graph(cls, values: Values, size: Size) -> Self:
        """See `Output.from_graph`."""
        if set(values) != {"probability"}:
            raise InputError(f"the file returns {', '.join(values)}, expected probability")
        return cls(np.asarray(values["probability"], np.float32))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        """See `Output.from_json`."""
        return cls(np.array(entry["probability"], np.float32))

    def classes(self, class_names: Sequence[str], top: int | None = None) -> tuple[ClassProbability, ...]:
        """The classes by name, the most probable first."""
        return ranked(self.probability, class_names, top)

    def flipped(self) -> Self:
        """The same: a mirror image has the same class."""
        return self

    def class_probability(self) -> Float32Array:
        """See `Output.class_probability`."""
        return self.probability

    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Row]:
        """One row."""
        return [class_row(self.classes(class_names, top))]

    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """A line for each class."""
        return [class_line([each]) for each in self.classes(class_names, top)]

    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        """The image as it is."""
        return {"": image}

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """See `Output.to_json`."""
        return {"probability": self.probability.tolist()}

    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        """See `Output.difference`."""
        if self.probability.shape != reference.probability.shape:
            raise InputError(
                f"probability has the shape {self.probability.shape}, expected {reference.probability.shape}"
            )
        found = Difference()
        compare_classes(self.probability, reference.probability, found)
        return found
