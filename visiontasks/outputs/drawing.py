"""Boxes, names and masks drawn on one picture, and the colours of the classes."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from visiontasks.ops.losses import IGNORED

TRUE_BOX_COLOUR, PREDICTED_BOX_COLOUR = (86, 180, 233), (255, 160, 0)  # blue and orange: apart for the colour-blind too

IGNORED_COLOUR = (90, 90, 90)
"""Of the darker lines over pixels without a class."""
_TINT = 0.6  # share of a class's colour over the grey picture
_CASING = (25, 25, 25)  # around a box's lines, so that they stand out from any picture
# "List of 20 Simple, Distinct Colors", Sasha Trubetskoy, https://sashamaps.net/docs/resources/20-colors, without grey
_DISTINCT = [
    "#4363d8", "#f58231", "#ffe119", "#e6194b", "#3cb44b", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#fabed4",
    "#469990", "#dcbeff", "#9a6324", "#fffac8", "#800000", "#aaffc3", "#808000", "#ffd8b1", "#000075",
]  # fmt: skip

Colour = tuple[int, ...]


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Shrink by averaging, or enlarge so that pixels stay squares; size is (width, height)."""
    grows = size[0] > image.width
    return image.resize(size, Image.Resampling.NEAREST if grows else Image.Resampling.BOX)


def overlay_mask(image: Image.Image, mask: NDArray[np.uint8], class_names: Sequence[str]) -> Image.Image:
    """Show a mask: the picture in grey under the colours of the classes.

    Args:
        image: The picture, RGB, at the size at which it is shown.
        mask: uint8, (H, W), class indices, of any size: it is stretched to the picture. 255, ignored, is hatched.
        class_names: Pixels of a class called "background" stay grey.

    Returns:
        A new picture, RGB.
    """
    layer = Image.fromarray(mask)
    layer.putpalette(_palette(tuple(class_names)).tobytes(), "RGBA")
    panel = image.convert("L").convert("RGBA")
    panel.alpha_composite(resize(layer.convert("RGBA"), image.size))
    ignored = resize(Image.fromarray(np.uint8(255) * (mask == IGNORED)), image.size)
    panel.paste(hatch(*image.size), mask=ignored)
    return panel.convert("RGB")


def class_colours(class_names: Sequence[str]) -> list[Colour]:
    """The colours that `overlay_mask` gives the classes over a middle grey, RGB 0..255."""
    return [
        (128,) * 3 if name.lower() == "background" else tuple(round(_TINT * c + (1 - _TINT) * 128) for c in colour)
        for name, colour in zip(class_names, _colours(len(class_names)), strict=True)
    ]


def palette(class_names: Sequence[str]) -> bytes:
    """Red, green and blue of the 256 values of a mask; "background" and values without a class are black."""
    return _palette(tuple(class_names))[:, :3].tobytes()


def hatch(width: int, height: int) -> Image.Image:
    """The pattern over pixels without a class."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.where((x + y) % 8 < 2, 215, IGNORED_COLOUR[0]).astype(np.uint8)).convert("RGB")


def draw_boxes(image: Image.Image, boxes: ArrayLike | None, colour: Colour, *, dashed: bool) -> None:
    """Draw the outlines of boxes into a picture.

    Args:
        image: RGB; it is changed.
        boxes: (N, 4), xyxy, 0..1 of the picture; None or empty draws nothing. A row with NaN is no box. What reaches
            outside is cut.
        colour: RGB.
        dashed: Whether the lines have gaps.
    """
    rows = np.asarray([] if boxes is None else boxes, dtype=np.float64).reshape(-1, 4)
    last = np.array([image.width - 1, image.height - 1] * 2)
    draw = ImageDraw.Draw(image)
    for row in rows[~np.isnan(rows).any(axis=1)]:
        x1, y1, x2, y2 = np.rint(row.clip(0, 1) * last).astype(int).tolist()
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
        for radius, fill in ((2, _CASING), (1, colour)):
            for start, end in pairwise(corners):
                _draw_edge(draw, start, end, radius, fill, dashed=dashed)


def draw_names(image: Image.Image, boxes: ArrayLike, names: Sequence[str], colour: Colour) -> None:
    """Write a name into the upper left corner of each box.

    Args:
        image: RGB; it is changed.
        boxes: (N, 4), xyxy, 0..1 of the picture; a row with NaN has no name.
        names: N.
        colour: RGB, behind the text.
    """
    typeface, draw = font(max(11, min(image.size) // 24)), ImageDraw.Draw(image)
    height = sum(typeface.getmetrics())
    for (left, top, *_), name in zip(np.asarray(boxes, np.float64).reshape(-1, 4).tolist(), names, strict=True):
        if left == left and top == top:
            text = name.encode(errors="replace").decode()
            x = min(max(0, round(left * image.width)), max(0, image.width - ceil(typeface.getlength(text)) - 4))
            y = min(max(0, round(top * image.height)), max(0, image.height - height))
            draw.rectangle((x, y, x + typeface.getlength(text) + 4, y + height), fill=colour)
            draw.text((x + 2, y), text, (0, 0, 0), typeface)


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """matplotlib's own font: it is there on every machine, and knows more than Latin letters."""
    import matplotlib  # takes long

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _draw_edge(
    draw: ImageDraw.ImageDraw, start: tuple[int, int], end: tuple[int, int], radius: int, fill: Colour, *, dashed: bool
) -> None:
    """A horizontal or vertical line, 2 * radius + 1 px wide."""
    (left, top), (right, bottom) = sorted([start, end])
    length = max(right - left, bottom - top)
    dash, step = (7, 14) if dashed else (length, length + 1)
    for begin in range(0, length + 1, step):
        stop = min(begin + dash, length)
        x = (left + begin, left + stop) if right > left else (left, left)
        y = (top + begin, top + stop) if bottom > top else (top, top)
        draw.rectangle((x[0] - radius, y[0] - radius, x[1] + radius, y[1] + radius), fill=fill)


@cache
def _palette(class_names: tuple[str, ...]) -> NDArray[np.uint8]:
    """RGBA of the 256 values of a mask; those without a class, and the background, are transparent."""
    palette = np.zeros((256, 4), np.uint8)
    for k, (name, colour) in enumerate(zip(class_names, _colours(len(class_names)), strict=True)):
        if name.lower() != "background":
            palette[k] = *colour, round(255 * _TINT)
    return palette


def _colours(count: int) -> list[Colour]:
    """One colour for each class; after the distinct ones always that which is farthest from those before."""
    steps = np.linspace(0, 255, 8).round()
    candidates = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    chosen: list[Colour] = [ImageColor.getrgb(code) for code in _DISTINCT]
    taken = np.array([*chosen, *[[grey] * 3 for grey in steps]])
    distance = np.linalg.norm(_lab(candidates)[:, None] - _lab(taken), axis=-1).min(axis=1)
    while len(chosen) < count:
        farthest = candidates[distance.argmax()]
        chosen.append(tuple(farthest.astype(int).tolist()))
        distance = np.minimum(distance, np.linalg.norm(_lab(candidates) - _lab(farthest[None]), axis=-1))
    return chosen[:count]


def _lab(rgb: NDArray[np.float64]) -> NDArray[np.float32]:
    """Colours (N, 3), 0..255, where distances are those that the eye perceives."""
    return np.asarray(cv2.cvtColor((rgb[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0])
