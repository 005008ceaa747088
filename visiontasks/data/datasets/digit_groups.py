"""Several real digits on each real photograph, both out of scikit-learn: detection without a network."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from visiontasks.data.datasets.digit_scenes import LARGEST_VALUE, PaintedScenes, box_of, paint, piece
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.data.pipeline.sources import Annotation, ArraySource, Int64Array, Sample
from visiontasks.data.targets import LabelsTarget, Target
from visiontasks.data.targets.objects import ObjectsTarget
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array

SIDE_PX = 96
DIGIT_PX = 16, 40
"""Smallest and largest side of a digit's square."""
MOST_DIGITS = 5
_MOST_COVERED = 0.1  # of a digit's square by another one
_TRIALS = 30


class GroupSource(ArraySource):
    """Decoded images of one size with any number of objects each.

    Args:
        images: RGB (n, H, W, 3).
        labels: Class indices of each image's objects, n arrays (N_i,).
        boxes: Their boxes, xyxy in pixels, n arrays (N_i, 4).
        num_classes: K, where a sample has the labels of its objects and not the objects; else 0.
    """

    def __init__(
        self, images: UInt8Array, labels: Sequence[Int64Array], boxes: Sequence[Float32Array], num_classes: int = 0
    ) -> None:
        self.num_classes = num_classes
        super().__init__(images, np.full(len(images), -1))
        self.object_labels = np.concatenate([*labels, np.zeros(0, dtype=np.int64)])
        self.object_boxes = np.concatenate([*boxes, np.zeros((0, 4), dtype=np.float32)])
        self.ends = np.cumsum([0, *map(len, labels)])

    def __getitem__(self, index: int, /) -> Sample:
        return {"image": self.images[index].copy(), **self.annotation(index)}

    def annotation(self, index: int) -> Annotation:
        """What a sample has beside its image."""
        rows = slice(self.ends[index], self.ends[index + 1])
        labels = self.object_labels[rows].copy()
        if self.num_classes:
            hot = np.bincount(labels, minlength=self.num_classes) > 0
            return {"labels_hot": hot.astype(np.float32)}
        return {"boxes": self.object_boxes[rows].copy(), "labels": labels, "crowd": np.zeros(len(labels), np.bool_)}


class DigitGroups(PaintedScenes):
    """Scenes of 96x96 pixels with 0 to 5 handwritten digits on a piece of a photograph.

    Digits have random sizes (16 to 40 px), places and colours; a scene in ten has none. A digit's box is that of the
    pixels which it covers by half or more.

    Args:
        target: `boxes`: the digits with their boxes; `labels`: which digits there are.
        scenes_per_digit: Scenes of each digit in the training split.
        **kwargs: Arguments of `PaintedScenes`.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        *,
        target: Literal["boxes", "labels"] = "boxes",
        scenes_per_digit: int = 3,
        image_size: int | tuple[int, int] = SIDE_PX,
        **kwargs: Any,
    ) -> None:
        if target not in ("boxes", "labels"):
            raise InputError(f"data.init_args.target: {target!r}, expected boxes or labels")
        kind: Target = ObjectsTarget() if target == "boxes" else LabelsTarget()
        super().__init__(scenes_per_digit=scenes_per_digit, image_size=image_size, target=kind, **kwargs)

    def scenes(self, digits: Any, rows: Int64Array, photos: list[UInt8Array], part: tuple[float, float]) -> GroupSource:
        """Scenes of all digits in a random order."""
        rng = np.random.default_rng([self.scene_seed, len(rows)])
        left = rng.permutation(rows).tolist()
        images, labels, boxes = [], [], []
        while left:
            count = 0 if rng.random() < 0.1 else int(rng.integers(1, MOST_DIGITS + 1))
            chosen, left = left[:count], left[count:]
            scene = piece(photos[rng.integers(len(photos))], part, SIDE_PX, rng).astype(np.float64)
            found = draw_digits(scene, [digits.images[row] / LARGEST_VALUE for row in chosen], rng)
            left += [row for row, box in zip(chosen, found, strict=True) if box is None]  # for which there was no room
            there = [(digits.target[row], box) for row, box in zip(chosen, found, strict=True) if box is not None]
            images.append(np.floor(scene + 0.5).astype(np.uint8))
            labels.append(np.array([label for label, _ in there], dtype=np.int64))
            boxes.append(np.array([box for _, box in there], dtype=np.float32).reshape(-1, 4))
        return GroupSource(
            np.stack(images), labels, boxes, self.num_classes if isinstance(self.target, LabelsTarget) else 0
        )


def draw_digits(
    scene: npt.NDArray[np.float64], digits: Sequence[npt.NDArray[np.float64]], rng: np.random.Generator
) -> list[Float32Array | None]:
    """Draw digits in colours that stand out, with random sizes and places, none of which covers much of another.

    Args:
        scene: (H, W, 3), 0..255; it is changed.
        digits: How much each pixel covers, 0..1, (8, 8) each.
        rng: Decides.

    Returns:
        The box of each, xyxy in pixels, (4,); None for one for which there was no room.
    """
    squares: list[tuple[int, int, int]] = []
    boxes: list[Float32Array | None] = []
    for digit in digits:
        square = _free_square(scene.shape[:2], squares, rng)
        if square is None:
            boxes.append(None)
            continue
        squares.append(square)
        boxes.append(box_of(paint(scene, digit, square, rng)))
    return boxes


def _free_square(
    size: tuple[int, ...], taken: Sequence[tuple[int, int, int]], rng: np.random.Generator
) -> tuple[int, int, int] | None:
    """Top, left and side of a square that covers little of the others; None if it cannot be found."""
    for _ in range(_TRIALS):
        side = int(rng.integers(DIGIT_PX[0], DIGIT_PX[1] + 1))
        top, left = (int(rng.integers(length - side + 1)) for length in size)
        shared = [_overlap((top, left, side), other) for other in taken]
        if all(share <= _MOST_COVERED for share in shared):
            return top, left, side
    return None


def _overlap(square: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """The share of the smaller one that both cover."""
    (y, x, side), (top, left, length) = square, other
    height = min(y + side, top + length) - max(y, top)
    width = min(x + side, left + length) - max(x, left)
    return max(0, height) * max(0, width) / min(side, length) ** 2
