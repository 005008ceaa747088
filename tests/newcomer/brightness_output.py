"""A new kind of output: one number."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from PIL import Image

from visiontasks.outputs import Box, Difference, Output


@dataclass(frozen=True, eq=False)
class Brightness(Output):
    """How bright an image of a size is, 0..1; from a threshold on, all of it is a bright object."""

    value: float
    size: tuple[int, int]
    threshold: float = 0.0

    has_threshold = True
    label_formats = ("coco", "yolo")
    graph_values = "The answer has `brightness`, (N,), 0..1."

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        return ["brightness"]

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        all_of = list(outputs)
        return replace(all_of[0], value=sum(output.value for output in all_of) / len(all_of))

    @classmethod
    def from_graph(cls, values: Mapping[str, Any], size: tuple[int, int]) -> Self:
        return cls(float(values["brightness"]), size)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        return cls(entry["brightness"], (entry["height"], entry["width"]))

    def named(self, class_names: Sequence[str], top: int | None = None) -> tuple[Box, ...]:
        height, width = self.size
        return (Box(0, 0, width, height),) if self.value >= self.threshold else ()

    def with_threshold(self, threshold: float) -> Self:
        return replace(self, threshold=threshold)

    def coco_results(self) -> list[Any]:
        height, width = self.size
        bright = {"category_id": 1, "bbox": [0, 0, width, height], "score": round(self.value, 6)}
        return [bright] if self.value >= self.threshold else []

    def yolo_lines(self) -> list[str]:
        return [f"0 0.5 0.5 1 1 {self.value:.6f}"] if self.value >= self.threshold else []

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
