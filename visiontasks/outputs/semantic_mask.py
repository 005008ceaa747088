"""The class of each pixel of an image."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from torch import Tensor

from visiontasks.errors import InputError
from visiontasks.ops.losses import IGNORED
from visiontasks.outputs.base import (
    Difference,
    Float32Array,
    LegendEntry,
    Output,
    Row,
    Size,
    UInt8Array,
    Values,
    count_flips,
)
from visiontasks.outputs.drawing import IGNORED_COLOUR, class_colours, overlay_mask, palette
from visiontasks.regular_files import check_regular


class SemanticMask(Output):
    """What is predicted by segmentation.

    Args:
        classes: Class indices, uint8 (H, W); of an annotation 255 where the class is not known. None for the most
            probable classes of `scores`.
        scores: Logits (K, H, W), on any device, which `mean` needs; they take 4 K bytes a pixel.
    """

    is_of_pixels = True
    graph_values = "The answer has `mask`, uint8 (N, H, W), the class of each pixel of the image."

    def __init__(self, classes: UInt8Array | None = None, *, scores: Tensor | None = None) -> None:
        if (classes is None) == (scores is None):
            raise ValueError("expected either classes or scores")
        if classes is not None and (classes.dtype != np.uint8 or classes.ndim != 2):
            raise ValueError(f"expected a mask uint8 (H, W), got {classes.dtype} {classes.shape}")
        self._classes = classes
        self.scores = scores

    @cached_property
    def mask(self) -> UInt8Array:
        """Class indices, uint8 (H, W)."""
        if self._classes is not None:
            return self._classes
        assert self.scores is not None
        return np.asarray(self.scores.argmax(0).byte().cpu().numpy())

    @property
    def image_size(self) -> Size:
        """See `Output.image_size`."""
        return (self.mask.shape[0], self.mask.shape[1])

    @classmethod
    def columns(cls, num_classes: int) -> list[str]:
        """See `Output.columns`."""
        return ["mask"]

    @classmethod
    def mean(cls, outputs: Iterable[Self]) -> Self:
        """Classes by the mean of the pixels' probabilities, without scores; a single prediction keeps its classes."""
        rest = iter(outputs)
        first, second = next(rest), next(rest, None)
        if second is None:
            return cls(first.mask)
        total = first.probability
        del first  # of a large image each is gigabytes
        total.add_(second.probability)
        del second
        for output in rest:
            total.add_(output.probability)
        return cls(cls(scores=total).mask)

    @classmethod
    def bytes_per_pixel(cls, num_classes: int, num_averaged: int) -> int:
        """Logits of each class, of several predictions also their softmax and its sum, and class indices as int64."""
        return 4 * (num_classes * (1 if num_averaged == 1 else 3) + 2)

    @classmethod
    def from_graph(cls, values: Values, size: Size) -> Self:
        """See `Output.from_graph`."""
        if set(values) != {"mask"}:
            raise InputError(f"the file returns {', '.join(values)}, expected mask")
        return cls(np.asarray(values["mask"], np.uint8))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], folder: Path) -> Self:
        """See `Output.from_json`."""
        check_regular(folder / entry["mask"])
        return cls(np.asarray(Image.open(folder / entry["mask"]), np.uint8))

    @property
    def probability(self) -> Tensor:
        """Probability of each class at each pixel, (K, H, W)."""
        if self.scores is None:
            raise ValueError("this mask has no scores")
        return self.scores.softmax(0)

    def flipped(self) -> Self:
        """Left and right exchanged."""
        if self.scores is not None:
            return type(self)(scores=self.scores.flip(-1))
        return type(self)(np.ascontiguousarray(self.mask[:, ::-1]))

    def class_probability(self) -> Float32Array | None:
        """None: classes are of pixels."""
        return None

    def rows(self, class_names: Sequence[str], *, top: int | None = None, file: str | None = None) -> list[Row]:
        """One row with the file of the mask."""
        return [{} if file is None else {"mask": file}]

    def lines(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """The share of the image that each class takes, the largest first."""
        share = np.bincount(self.mask.ravel(), minlength=len(class_names)) / self.mask.size
        order = np.argsort(-share, kind="stable")
        return ["  ".join(f"{class_names[k]} {share[k]:.1%}" for k in order if share[k] > 0)]

    def caption(self, class_names: Sequence[str], *, top: int | None = None) -> list[str]:
        """Nothing beside the legend."""
        return []

    def draw(self, image: Image.Image, class_names: Sequence[str], truth: Self | None = None) -> dict[str, Image.Image]:
        """The classes' colours over the grey image; beside the truth, the image itself too."""
        if truth is None:
            return {"": overlay_mask(image, self.mask, class_names)}
        masks = {"truth": truth, "prediction": self}
        return {"image": image} | {name: overlay_mask(image, each.mask, class_names) for name, each in masks.items()}

    def num_panels(self, truth: Self | None) -> int:
        """One, or image, truth and prediction."""
        return 1 if truth is None else 3

    def legend(self, class_names: Sequence[str], truth: Self | None = None) -> list[LegendEntry]:
        """The classes that occur, by index.

        Raises:
            ValueError: If one has no name.
        """
        values = sorted({int(k) for each in (self, truth) if each is not None for k in np.unique(each.mask)})
        unnamed = [k for k in values if k != IGNORED and k >= len(class_names)]
        if unnamed:
            raise ValueError(f"expected classes 0..{len(class_names) - 1} or {IGNORED} in the masks, got {unnamed}")
        colours = class_colours(class_names)
        return [
            LegendEntry("ignored", IGNORED_COLOUR, "hatched", order=k)
            if k == IGNORED
            else LegendEntry(class_names[k], colours[k], order=k)
            for k in values
        ]

    def png(self, class_names: Sequence[str]) -> Image.Image:
        """Class indices with a palette of the classes' colours, as PASCAL VOC's masks are."""
        image = Image.fromarray(self.mask)
        image.putpalette(palette(class_names))
        return image

    def to_json(self, folder: Path, name: str) -> dict[str, Any]:
        """The name of a PNG of class indices."""
        Image.fromarray(self.mask).save(folder / f"{name}_mask.png")
        return {"mask": f"{name}_mask.png"}

    def difference(self, reference: Self, *, unit: float = 1.0) -> Difference:
        """Pixels whose class differs; with scores of the reference, flips and ties are distinguished."""
        if self.mask.shape != reference.mask.shape:
            raise InputError(f"mask has the shape {self.mask.shape}, expected {reference.mask.shape}")
        moved = np.asarray(self.mask != reference.mask)
        found = Difference(figures={"mask_share": float(moved.mean())})
        margin = np.ones(moved.shape, np.float32)
        if reference.scores is not None:
            first, second = reference.probability.topk(2, dim=0).values.cpu().numpy()
            margin = first - second
        count_flips(moved, margin, found)
        return found
