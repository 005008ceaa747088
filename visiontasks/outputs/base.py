"""The contract between tasks, which predict, and all that compares, shows and writes predictions."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]
Size = tuple[int, int]  # height, width
Row = dict[str, Any]
Values = Mapping[str, npt.NDArray[Any]]
"""Of one image, by the names of an exported graph's outputs."""

TIE = 1e-3
"""Two classes whose probabilities differ by no more are equally probable: which one is first is chance."""
MOST_DIFFERENCE = 0.01
"""Of a probability, between a prediction and its reference that agree."""

SET, P_KNOWN = "set", "p_known"
"""Columns of rows: names of a set of classes, and the share of validation images that are at least as unusual."""
UNKNOWN = "unknown"
"""The answer for an image that is unlike those of the training."""


@dataclass(frozen=True)
class ClassProbability:
    """A class by its name, and its probability in 0..1; NaN for `UNKNOWN`, which has none."""

    name: str
    probability: float


@dataclass(frozen=True)
class Box:
    """A box in pixels of the original image, cut to it: its edges are at 0 and at its width or height.

    Args:
        x1: Left edge.
        y1: Upper edge.
        x2: Right edge.
        y2: Lower edge.
        classes: Of the object in the box, the most probable first; empty where no classes are predicted.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    classes: tuple[ClassProbability, ...] = ()


@dataclass(frozen=True)
class LegendEntry:
    """What a colour in a drawn prediction means.

    Args:
        name: Text.
        colour: RGB, 0..255, as it looks in the picture.
        style: A filled area, a hatched one, or a line.
        order: Of the entries of several pictures.
    """

    name: str
    colour: tuple[int, ...]
    style: Literal["area", "hatched", "line", "dashed line"] = "area"
    order: int = 0


@dataclass
class Difference:
    """How far a prediction is from a reference.

    Args:
        classes: How many classes were compared: of images, objects or pixels.
        flips: Those that differ, where the reference leads by more than `TIE`.
        ties: Those that differ otherwise.
        figures: Largest differences by name: `probability` or `score`; `box_px`, a box's side in pixels of the
            network's image; `box_iou`, the smallest IoU; `mask_share`, of the pixels; and `unpaired_objects`, those
            that one of the two does not have.
        faults: What is too far off, in words; empty where the two agree.
    """

    classes: int = 0
    flips: int = 0
    ties: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Output(ABC):
    """What a task predicts of one image, in pixels of the image's own size."""

    is_of_whole_image: ClassVar[bool] = False
    """Whether a crop of an image has the same true output, as its class."""
    has_one_class: ClassVar[bool] = False
    """Whether an image has one class, so that the probabilities of the classes sum to 1."""
    is_of_pixels: ClassVar[bool] = False
    """Whether one grey level more in a pixel of the input may change it."""
    table_columns: ClassVar[tuple[str, ...]] = ("score",)
    """What a task gives of each sample, at least, for reports and comparisons: its `sample_columns`."""
    label_formats: ClassVar[tuple[str, ...]] = ()
    """Of other tools, in which predictions can be written: "coco" with `coco_results`, "yolo" with `yolo_lines`."""
    has_threshold: ClassVar[bool] = False
    """Whether a threshold on a score decides what is shown, see `with_threshold`."""
    graph_values: ClassVar[str] = "The answer has the values that the task's `graph_values` returns."
    """What an exported graph returns, a sentence."""

    @classmethod
    @abstractmethod
    def columns(cls, num_classes: int) -> list[str]:
        """Names of the values in `rows`, in order.

        Args:
            num_classes: How many classes are named, 0 where none is predicted.
        """

    @classmethod
    @abstractmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        """Average what several networks or views predict of one image.

        Args:
            outputs: At least one; taken one at a time.
        """

    @classmethod
    def bytes_per_pixel(cls, num_classes: int, num_averaged: int) -> int:
        """Memory that the mean of predictions takes for each pixel of the original image."""
        return 0

    @classmethod
    @abstractmethod
    def from_graph(cls, values: Values, size: Size) -> Self:
        """What an exported graph returns for one image.

        Args:
            values: Without the batch dimension.
            size: Height and width of the image.

        Raises:
            InputError: If the values are not those of this output.
        """

    @classmethod
    @abstractmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        """Read what `to_json` wrote.

        Args:
            entry: Its result, with `height` and `width` of the image.
            folder: Where files that it names are.
        """

    @classmethod
    def from_table(cls, values: Mapping[str, float], size: Size) -> Self | None:
        """The prediction from a row of the table of samples; None where the table does not hold all of it.

        Args:
            values: The row's numbers by column.
            size: Height and width of the image.
        """
        return None

    @property
    def image_size(self) -> Size | None:
        """Height and width of the image; None where the output does not depend on it."""
        return None

    @property
    def mask(self) -> UInt8Array | None:
        """Class indices, (H, W); None where classes of pixels are not predicted."""
        return None

    @abstractmethod
    def flipped(self) -> Self:
        """The prediction of the image from the prediction of its mirror image."""

    @abstractmethod
    def class_probability(self) -> Float32Array | None:
        """Probability of each class for the image as a whole, (K,); None where classes of images are not predicted."""

    @abstractmethod
    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Row]:
        """The prediction as rows of a table, by the names of `columns`.

        Args:
            class_names: By class index.
            top: How many classes are named; None for all.
            file: Where `png` is stored.
        """

    def classes(self, class_names: Sequence[str], top: int | None = None) -> tuple[ClassProbability, ...]:
        """Classes of the image as a whole, the most probable first; empty where none are predicted."""
        return ()

    def label_names(self, class_names: Sequence[str]) -> list[str]:
        """Names of the classes that the image has as a whole, by class index."""
        return [each.name for each in self.classes(class_names, 1)]

    def named(self, class_names: Sequence[str], top: int | None = None) -> tuple[Box, ...]:
        """Boxes, cut to the image, with their classes by name; empty where none are predicted."""
        return ()

    def with_threshold(self, threshold: float) -> Self:
        """The prediction with another threshold, in 0..1, where `has_threshold`."""
        raise NotImplementedError

    def with_set(self, least_probability: float) -> Self:
        """The prediction as a set, where `has_one_class`: classes of this probability, and the most probable one."""
        raise NotImplementedError

    def with_unknown(self, false_alarms: float) -> Self:
        """The prediction that is `UNKNOWN` where so few validation images are as unusual, where `has_one_class`.

        Args:
            false_alarms: Share of images like the validation images that may be called unknown, above 0 and below 1.
        """
        raise NotImplementedError

    def class_set(self, class_names: Sequence[str]) -> tuple[ClassProbability, ...]:
        """The set of `with_set`, the most probable class first; empty without it."""
        return ()

    def coco_results(self) -> list[Row]:
        """The objects as in COCO's results, https://cocodataset.org/#format-results, without the image's id.

        Returns:
            `category_id`, the class index + 1; `bbox`, x, y of the upper left corner, width and height in pixels of the
            image; `score` in 0..1.
        """
        raise NotImplementedError

    def yolo_lines(self) -> list[str]:
        """The objects as in YOLO's text files, a line for each.

        Returns:
            Class index, x and y of the centre, width, height, all four as shares of the image's sides, and score.
        """
        raise NotImplementedError

    @abstractmethod
    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """The prediction as text."""

    def caption(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """Lines below the drawn prediction."""
        return self.lines(class_names, top=top)

    @abstractmethod
    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        """Draw the prediction into its image, beside the truth.

        Args:
            image: RGB, of the size at which it is shown.
            class_names: By class index.
            truth: The annotation; None to draw the prediction alone.

        Returns:
            One picture, or one for each of truth and prediction, by title.
        """

    def draw_annotation(self, image: Image.Image, class_names: Sequence[str]) -> Image.Image:
        """Draw an annotation into its image, without a prediction.

        Args:
            image: RGB, of the size at which it is shown.
            class_names: By class index.
        """
        (drawn,) = self.draw(image, class_names).values()
        return drawn

    def num_panels(self, truth: Self | None) -> int:
        """How many pictures `draw` returns."""
        return 1

    def legend(self, class_names: Sequence[str], truth: Self | None = None) -> list[LegendEntry]:
        """What the colours in `draw` mean."""
        return []

    def png(self, class_names: Sequence[str]) -> Image.Image | None:
        """The prediction as a picture that is stored beside the rows; None where the rows hold all of it."""
        return None

    @abstractmethod
    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """Values for a JSON file.

        Args:
            folder: Where what JSON does not hold is written.
            name: Of such a file in the folder, without suffix.
        """

    @abstractmethod
    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        """Compare with a reference prediction of the same image.

        Args:
            reference: Of the same task.
            unit: Pixels of the original image for each one of the network's.

        Raises:
            InputError: If the shapes differ.
        """


def ranked(probability: Float32Array, class_names: Sequence[str], top: int | None) -> tuple[ClassProbability, ...]:
    """Classes with their probabilities, the most probable first; equal ones by index.

    Args:
        probability: (K,).
        class_names: K.
        top: How many; None for all.
    """
    order = np.argsort(-probability, kind="stable")[:top]
    return tuple(ClassProbability(class_names[k], float(probability[k])) for k in order)


def class_columns(num_classes: int) -> list[str]:
    """Names of the columns of ranked classes: predicted, probability, class_2, probability_2, ..."""
    return list(class_row([ClassProbability("", 0.0)] * num_classes))


def class_row(classes: Sequence[ClassProbability]) -> Row:
    """Ranked classes as values of a row."""
    row: Row = {}
    for rank, each in enumerate(classes, start=1):
        name, probability = ("predicted", "probability") if rank == 1 else (f"class_{rank}", f"probability_{rank}")
        row |= {name: each.name, probability: None if isnan(each.probability) else round(each.probability, 6)}
    return row


def set_line(classes: Sequence[ClassProbability], top: int | None) -> str:
    """A set of classes as text: "Bengal 0.612 or Abyssinian 0.301"; of many the first ones."""
    named = [class_line([each]) for each in classes[:top]]
    more = len(classes) - len(named)
    return " or ".join([*named, *([f"{more} more"] if more else [])])


def class_line(classes: Sequence[ClassProbability]) -> str:
    """Ranked classes as text."""
    return "  ".join(
        each.name if isnan(each.probability) else f"{each.name} {each.probability:.3f}" for each in classes
    )


def compare_classes(found: Float32Array, reference: Float32Array, difference: Difference) -> npt.NDArray[np.bool_]:
    """Compare probabilities (..., K) with a reference's, and add to a difference what is found.

    Returns:
        Where the most probable class differs, (...).
    """
    largest = largest_of(found - reference)
    difference.figures["probability"] = largest
    if not largest <= MOST_DIFFERENCE:
        difference.faults.append(f"a probability differs by {largest:.3g}")
    moved = np.asarray(found.argmax(-1) != reference.argmax(-1))
    count_flips(moved, lead(reference), difference)
    return moved


def count_flips(moved: npt.NDArray[np.bool_], margin: Float32Array, difference: Difference) -> None:
    """Count classes that differ as flips or ties by how far the reference's class leads."""
    flips = moved & ~(margin <= TIE)
    difference.classes += moved.size
    difference.flips += int(flips.sum())
    difference.ties += int((moved & ~flips).sum())
    if flips.any():
        difference.faults.insert(0, f"{int(flips.sum())} of {moved.size} classes differ")


def lead(probability: Float32Array) -> Float32Array:
    """By how much the most probable class of (..., K) is more probable than the second, (...)."""
    second, first = np.moveaxis(np.sort(probability, -1)[..., -2:], -1, 0)
    return np.asarray(first - second, np.float32)


def largest_of(difference: npt.NDArray[Any]) -> float:
    """Largest absolute value; infinite where one is not finite, so that it is never within a limit."""
    value = float(np.abs(difference).max(initial=0.0))
    return value if np.isfinite(value) else float("inf")
