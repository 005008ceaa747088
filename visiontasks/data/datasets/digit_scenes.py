"""Real digits on real photographs, both out of scikit-learn: boxes and masks that are there without a network."""

from abc import abstractmethod
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from visiontasks.data.base import DataModule
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.data.pipeline.sources import ArraySource, Int64Array, Source, divide
from visiontasks.data.targets import MaskTarget, named_target
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array, Resize

SIDE_PX = 64
DIGIT_PX = 20, 44
"""Smallest and largest side of a digit's square."""
LARGEST_VALUE = 16
_LEAST_CONTRAST = 90  # between a digit's grey and the mean of what it lies on, of 255
PHOTO_PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}  # from left to right, of each photograph


class PaintedScenes(DataModule):
    """Scenes that are painted of scikit-learn's digits and photographs.

    Each of the 1,797 digits is in one scene, those for training in several. The splits share neither digits nor parts
    of the two photographs.

    Args:
        scenes_per_digit: Scenes of each digit in the training split.
        scene_seed: Decides sizes, places and colours; apart from `seed`, so that runs share their scenes.
        split_seed: Decides which digits are for validation and test.
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        *,
        scenes_per_digit: int,
        scene_seed: int = 0,
        split_seed: int = 0,
        batch_size: int = 32,
        resize: Resize = "squash",
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, resize=resize, cache_images_gb=0, max_16bit=None, **kwargs)
        for key, value, least in (("scene_seed", scene_seed, 0), ("scenes_per_digit", scenes_per_digit, 1)):
            if value < least:
                raise InputError(f"data.init_args.{key}: {value}, expected {least} or more")
        self.scenes_per_digit = scenes_per_digit
        self.scene_seed = scene_seed
        self.split_seed = split_seed

    @property
    def class_names(self) -> list[str]:
        """0 to 9."""
        return [str(digit) for digit in range(10)]

    def load_sources(self) -> dict[str, Source]:
        """Paint the scenes."""
        from sklearn.datasets import load_digits, load_sample_images  # takes long, and other data needs none of it

        digits = load_digits()
        photos = load_sample_images().images
        rows = divide(digits.target, val_fraction=0.2, test_fraction=0.2, seed=self.split_seed)
        rows["train"] = np.tile(rows["train"], self.scenes_per_digit)
        return {split: self.scenes(digits, of_split, photos, PHOTO_PARTS[split]) for split, of_split in rows.items()}

    @abstractmethod
    def scenes(self, digits: Any, rows: Int64Array, photos: list[UInt8Array], part: tuple[float, float]) -> ArraySource:
        """Paint the scenes of a split.

        Args:
            digits: What `load_digits` gives.
            rows: Those of the split, (n,).
            photos: RGB (H, W, 3).
            part: Shares of the photographs' width between which backgrounds lie.
        """


class DigitScenes(PaintedScenes):
    """Scenes of 64x64 pixels with one handwritten digit on a piece of a photograph; 4,312 train, 360 val, 359 test.

    A digit has a random size (20 to 44 px), place and colour. Its mask is where it covers its background by half or
    more; its box is the box of its mask.

    Args:
        target: `box`: a label (0 to 9) and a box; `mask`: a mask of 11 classes, background and the digits.
        scenes_per_digit: Scenes of each digit in the training split.
        **kwargs: Arguments of `PaintedScenes`.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        *,
        target: Literal["box", "mask"] = "box",
        scenes_per_digit: int = 4,
        image_size: int | tuple[int, int] = SIDE_PX,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            scenes_per_digit=scenes_per_digit, image_size=image_size, target=named_target(target), **kwargs
        )
        self.num_objects = 1

    @property
    def class_names(self) -> list[str]:
        """0 to 9; for masks the background before them."""
        digits = super().class_names
        return ["background", *digits] if isinstance(self.target, MaskTarget) else digits

    def scenes(self, digits: Any, rows: Int64Array, photos: list[UInt8Array], part: tuple[float, float]) -> ArraySource:
        """See `PaintedScenes.scenes`."""
        labels = digits.target[rows]
        images = np.empty((len(rows), SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        masks = np.empty((len(rows), SIDE_PX, SIDE_PX), dtype=np.bool_)
        for i, row in enumerate(rows):
            rng = np.random.default_rng([self.scene_seed, int(row), i])
            background = piece(photos[rng.integers(len(photos))], part, SIDE_PX, rng)
            images[i], masks[i] = draw_digit(background, digits.images[row] / LARGEST_VALUE, rng)
        if isinstance(self.target, MaskTarget):
            classes = np.where(masks, labels[:, None, None] + 1, 0).astype(np.uint8)
            return ArraySource(images, np.zeros_like(labels), masks=classes)
        return ArraySource(images, labels, boxes=np.stack([box_of(mask) for mask in masks]))


def draw_digit(
    background: UInt8Array, digit: Float32Array, rng: np.random.Generator
) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
    """Draw a digit in a colour that stands out, with random size and place.

    Args:
        background: (H, W, 3).
        digit: How much each pixel covers, 0..1, (8, 8).
        rng: Decides.

    Returns:
        The scene, (H, W, 3) uint8, and where the digit covers by half or more, (H, W).
    """
    side = int(rng.integers(DIGIT_PX[0], DIGIT_PX[1] + 1))
    top, left = (int(rng.integers(length - side + 1)) for length in background.shape[:2])
    scene = background.astype(np.float64)
    mask = paint(scene, digit, (top, left, side), rng)
    return np.floor(scene + 0.5).astype(np.uint8), mask


def paint(
    scene: npt.NDArray[np.float64],
    digit: npt.NDArray[np.floating[Any]],
    square: tuple[int, int, int],
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Draw a digit into a square of a scene, in a colour that stands out.

    Args:
        scene: (H, W, 3), 0..255; it is changed.
        digit: How much each pixel covers, 0..1, (8, 8).
        square: Top, left and side in pixels.
        rng: Decides the colour.

    Returns:
        Where the digit covers by half or more, (H, W).
    """
    top, left, side = square
    cover = np.zeros(scene.shape[:2])
    enlarged = cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC)
    cover[top : top + side, left : left + side] = enlarged.clip(0, 1)
    mask: npt.NDArray[np.bool_] = cover >= 0.5
    grey, colour = scene[mask].mean(), rng.integers(0, 256, 3)
    while abs(colour.mean() - grey) < _LEAST_CONTRAST:
        colour = rng.integers(0, 256, 3)
    scene += cover[..., None] * (colour - scene)
    return mask


def box_of(mask: npt.NDArray[np.bool_]) -> Float32Array:
    """The smallest box around the true pixels of a mask (H, W): xyxy in pixels, (4,)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def piece(photo: UInt8Array, part: tuple[float, float], side: int, rng: np.random.Generator) -> UInt8Array:
    """A random square of a photograph (H, W, 3) with a side in pixels, between two shares of the photograph's width."""
    height, width = photo.shape[:2]
    first, end = (round(share * width) for share in part)
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(first, end - side + 1))
    return photo[top : top + side, left : left + side]
