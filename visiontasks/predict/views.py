"""Test-time augmentation: the views of a batch whose predictions are averaged."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from visiontasks.outputs.geometry import Geometry, Size

Batch = dict[str, Any]
Tta = Literal["flip", "tencrop"]


@dataclass(frozen=True, eq=False)
class View:
    """A batch as a network gets it.

    Args:
        batch: `image` uint8 (B, 3, H, W) and `geometry` int64 (B, 8), as in a batch of the data.
        mirrored: Whether left and right are exchanged, of image and geometry.
    """

    batch: Batch
    mirrored: bool


def resized_for(size: Size, tta: Tta | None) -> Size:
    """Height and width that images are resized to, from which `views` cuts the network's input.

    For ten crops 8/7 of the network's, rounded: 256 of 224.
    """
    return (round(8 * size[0] / 7), round(8 * size[1] / 7)) if tta == "tencrop" else size


def views(batch: Batch, tta: Tta | None, size: Size) -> Iterator[View]:
    """The views of a batch: itself; with `flip` its mirror image too; with `tencrop` ten crops.

    Ten crops: images, brought to `resized_for` by the run's own policy, are cut to the network's size at their four
    corners and in the middle, and each of the five is mirrored too, as in section 4.1 of Alex Krizhevsky et al.,
    "ImageNet Classification with Deep Convolutional Neural Networks", 2012
    (https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks), where they are
    of 224 out of 256 pixels.

    Args:
        batch: With images of `resized_for(size, tta)`.
        tta: None for the batch as it is.
        size: Height and width of the network's input.

    Yields:
        New dicts, since a task may leave in a batch what it has computed of it.
    """
    if tta == "tencrop":
        for top, left in _corners_and_middle(batch["image"].shape[-2:], size):
            crop = batch["image"][..., top : top + size[0], left : left + size[1]]
            yield View({**batch, "image": crop}, mirrored=False)  # of a crop's output nothing depends on its place
            yield View({**batch, "image": crop.flip(-1)}, mirrored=True)
        return
    yield View(dict(batch), mirrored=False)
    if tta == "flip":
        mirrored = [Geometry.of(row).mirrored().row() for row in batch["geometry"].tolist()]
        geometry = torch.from_numpy(np.stack(mirrored)).to(batch["geometry"].device)
        yield View({**batch, "image": batch["image"].flip(-1), "geometry": geometry}, mirrored=True)


def _corners_and_middle(whole: Size, part: Size) -> list[tuple[int, int]]:
    """Where crops begin, (top, left)."""
    bottom, right = whole[0] - part[0], whole[1] - part[1]
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
