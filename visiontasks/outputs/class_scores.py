"""Probabilities of the classes of an image as a whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.outputs.base import (
    P_KNOWN,
    SET,
    UNKNOWN,
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
    set_line,
)

MOST_P_DIFFERENCE = 0.1
"""Of `p_known`, which goes in steps of 1 / (n + 1) for n validation images, between a prediction and its reference."""


@dataclass(frozen=True, eq=False)
class ClassScores(Output):
    """What is predicted by classification.

    Args:
        probability: Of each class, float32 (K,), sum 1.
        least_probability: What a class needs to be in the set that is the answer; None where the answer is one class.
        p_known: Share of the validation images, with this one among them, that are at least as far from the training
            images, in 0..1: a conformal p-value (Bates et al., "Testing for Outliers with Conformal p-Values", 2023,
            https://arxiv.org/abs/2104.08279); None where it was not computed.
        false_alarms: The p-value up to which the answer is `UNKNOWN`; None for no such answer.
    """

    probability: Float32Array
    least_probability: float | None = None
    p_known: float | None = None
    false_alarms: float | None = None

    is_of_whole_image = True
    has_one_class = True
    table_columns = ("label", "predicted", "probability", "score")
    graph_values = (
        "The answer has `probability`, (N, classes), and, of a run exported with --unknown, `p_known`, (N,): where it "
        "is at most 0.05, the image is unlike those of the training, wrongly so for 1 in 20 validation images."
    )

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        """See `Output.columns`."""
        return class_columns(num_classes)

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        """Mean of the probabilities; of one prediction, itself."""
        first, *others = outputs
        if not others:
            return first
        return cls(np.mean([output.probability for output in (first, *others)], axis=0))

    @classmethod
    def from_graph(cls, values: Values, size: Size) -> Self:
        """See `Output.from_graph`."""
        if set(values) - {P_KNOWN} != {"probability"}:
            raise InputError(f"the file returns {', '.join(values)}, expected probability")
        known = values.get(P_KNOWN)
        return cls(np.asarray(values["probability"], np.float32), p_known=None if known is None else float(known))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        """See `Output.from_json`."""
        return cls(np.array(entry["probability"], np.float32), p_known=entry.get(P_KNOWN))

    @property
    def is_unknown(self) -> bool:
        """Whether the answer is that the image is unlike those of the training."""
        if self.p_known is None or self.false_alarms is None:
            return False
        return bool(np.float32(self.p_known) <= np.float32(self.false_alarms))  # as a graph's float32 compares

    def classes(self, class_names: Sequence[str], top: int | None = None) -> tuple[ClassProbability, ...]:
        """The classes by name, the most probable first; before them `UNKNOWN`, where that is the answer."""
        unknown = [ClassProbability(UNKNOWN, nan)] if self.is_unknown else []
        return (*unknown, *ranked(self.probability, class_names, top))[:top]

    def with_set(self, least_probability: float) -> Self:
        """See `Output.with_set`."""
        return replace(self, least_probability=least_probability)

    def with_unknown(self, false_alarms: float) -> Self:
        """See `Output.with_unknown`."""
        return replace(self, false_alarms=false_alarms)

    def class_set(self, class_names: Sequence[str]) -> tuple[ClassProbability, ...]:
        """See `Output.class_set`."""
        if self.least_probability is None:
            return ()
        size = max(1, int((self.probability >= np.float32(self.least_probability)).sum()))
        return ranked(self.probability, class_names, size)

    def flipped(self) -> Self:
        """The same: a mirror image has the same class."""
        return self

    def class_probability(self) -> Float32Array:
        """See `Output.class_probability`."""
        return self.probability

    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Row]:
        """One row."""
        row = class_row(self.classes(class_names, top))
        names = [each.name for each in self.class_set(class_names)]
        known = {} if self.false_alarms is None else {P_KNOWN: self.p_known and round(self.p_known, 6)}
        return [row | known | ({SET: names} if names else {})]

    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """A line for each class; where the answer is a set, one line."""
        if chosen := self.class_set(class_names):
            return [f"{UNKNOWN}, else {set_line(chosen, top)}" if self.is_unknown else set_line(chosen, top)]
        return [class_line([each]) for each in self.classes(class_names, top)]

    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        """The image as it is."""
        return {"": image}

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """See `Output.to_json`."""
        return {"probability": self.probability.tolist(), **({} if self.p_known is None else {P_KNOWN: self.p_known})}

    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        """See `Output.difference`."""
        if self.probability.shape != reference.probability.shape:
            raise InputError(
                f"probability has the shape {self.probability.shape}, expected {reference.probability.shape}"
            )
        found = Difference()
        compare_classes(self.probability, reference.probability, found)
        if self.p_known is not None and reference.p_known is not None:
            found.figures[P_KNOWN] = abs(self.p_known - reference.p_known)
            if found.figures[P_KNOWN] > MOST_P_DIFFERENCE:
                found.faults.append(f"{P_KNOWN} differs by {found.figures[P_KNOWN]:.3g}")
        elif (self.p_known is None) != (reference.p_known is None):
            found.faults.append(f"only one of the two has {P_KNOWN}")
        return found
