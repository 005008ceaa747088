"""A new kind of output: one number."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image

from visiontasks.outputs import Difference, Output


@dataclass(frozen=True, eq=False)
class Brightness(Output):
    """How bright an image is, 0..1."""

    value: float

    graph_values = "The answer has `brightness`, (N,), 0..1."

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        return ["brightness"]

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        values = [output.value for output in outputs]
        return cls(sum(values) / len(values))

    @classmethod
    def from_graph(cls, values: Mapping[str, Any], size: tuple[int, int]) -> Self:
        return cls(float(values["brightness"]))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        return cls(entry["brightness"])

    def flipped(self) -> Self:
        return self

    def class_probability(self) -> None:
        return None

    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Any]:
        return [{"brightness": round(self.value, 6)}]

    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        return [f"brightness {self.value:.3f}"]

    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        return {"": image.point(lambda level: int(level * self.value))}

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        return {"brightness": self.value}

    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        found = abs(self.value - reference.value)
        return Difference(figures={"brightness": found}, faults=["too bright"] if found > 1e-3 else [])
