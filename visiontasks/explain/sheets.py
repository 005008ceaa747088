"""First filters and feature maps as tiles, to be put beside each other."""

from math import ceil

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visiontasks.data.pipeline.reader import UInt8Array

Row = tuple[str, list[Image.Image]]
"""What the tiles are, and the tiles."""
MOST_FILTERS, MOST_MAPS = 256, 16
FILTER_PX, MAP_PX, MOST_PX = 48, 96, 112  # least sides of a filter and of a map, and the most


def filter_row(weight: Tensor) -> Row:
    """Each filter from its smallest weight, black, to its largest one, white; of other than 3 channels their mean.

    Args:
        weight: Of a convolution, (filters, channels, height, width).
    """
    count, channels, height, width = weight.shape
    colours = weight if channels == 3 else weight.mean(1, keepdim=True)
    title = f"{count} filters of {height}x{width} on {channels} channel{'s' * (channels != 1)}, the first convolution"
    return title, [_tile(_scaled(each), FILTER_PX) for each in colours[:MOST_FILTERS].permute(0, 2, 3, 1)]


def map_row(name: str, maps: Tensor) -> Row:
    """The maps with the largest mean, each from its smallest value, black, to its largest one, white.

    Args:
        name: Of the layer.
        maps: (C, h, w).
    """
    count, height, width = maps.shape
    strongest = maps.mean((1, 2)).argsort(descending=True, stable=True)[:MOST_MAPS]
    title = f"{name}: the {len(strongest)} strongest of {count} maps of {height}x{width}"
    return title, [_tile(_scaled(maps[i][..., None]), MAP_PX) for i in strongest]


def _scaled(values: Tensor) -> UInt8Array:
    """Values (h, w, 1 or 3) from their smallest, 0, to their largest, 255; RGB."""
    low, high = values.min(), values.max()
    level = (values - low) / (high - low).clamp_min(1e-12)
    return np.asarray((255 * level).round().to(torch.uint8).expand(-1, -1, 3).cpu().numpy())


def _tile(pixels: UInt8Array, least_px: int) -> Image.Image:
    """Enlarged by a whole number to `least_px`, or shrunk."""
    tile = Image.fromarray(np.ascontiguousarray(pixels))
    if max(tile.size) <= least_px:
        times = ceil(least_px / max(tile.size))
        return tile.resize((times * tile.width, times * tile.height), Image.Resampling.NEAREST)
    tile.thumbnail((MOST_PX, MOST_PX))
    return tile
