"""Pictures and lines of text put beside and below each other."""

from collections.abc import Sequence
from math import ceil

from PIL import Image, ImageDraw, ImageFont

from visiontasks.outputs.drawing import Colour

GAP, MARGIN = 14, 20  # px
INK, PALE_INK, PAPER = (33, 33, 33), (110, 110, 110), (255, 255, 255)


def text_line(text: str, width: float, typeface: ImageFont.FreeTypeFont, *, colour: Colour = INK) -> Image.Image:
    """One line of text, `width` px wide."""
    line = Image.new("RGB", (ceil(width), sum(typeface.getmetrics()) + 1), PAPER)
    ImageDraw.Draw(line).text((0, 0), _shortened(text, width, typeface), colour, typeface)
    return line


def beside(images: Sequence[Image.Image], gap: int, *, least_width: int = 0) -> Image.Image:
    """A row of images, `gap` px apart, each in a column of its own width or of `least_width`."""
    widths = [max(image.width, least_width) for image in images]
    row = Image.new("RGB", (sum(widths) + gap * (len(images) - 1), max(image.height for image in images)), PAPER)
    left = 0
    for image, width in zip(images, widths, strict=True):
        row.paste(image, (left, 0))
        left += width + gap
    return row


def stacked(images: Sequence[Image.Image], gap: int) -> Image.Image:
    """Images below each other, `gap` px apart, from the left."""
    size = max(image.width for image in images), sum(image.height for image in images) + gap * (len(images) - 1)
    column = Image.new("RGB", size, PAPER)
    top = 0
    for image in images:
        column.paste(image, (0, top))
        top += image.height + gap
    return column


def wrapped(images: Sequence[Image.Image], width: int) -> Image.Image:
    """Images in one row, or in columns of equal width where they are too many."""
    row = beside(images, GAP)
    if row.width <= width:
        return row
    widest = max(image.width for image in images)
    columns = max(1, (width + GAP) // (widest + GAP))
    starts = range(0, len(images), columns)
    return stacked([beside(images[i : i + columns], GAP, least_width=widest) for i in starts], 4)


def framed(image: Image.Image) -> Image.Image:
    """An image with a margin."""
    frame = Image.new("RGB", (image.width + 2 * MARGIN, image.height + 2 * MARGIN), PAPER)
    frame.paste(image, (MARGIN, MARGIN))
    return frame


def _shortened(text: str, width: float, typeface: ImageFont.FreeTypeFont) -> str:
    """The text on one line of at most `width` px, if need be without its middle."""
    whole = text = " ".join(text.encode(errors="replace").decode().split())
    kept = len(whole)
    while typeface.getlength(text) > width and kept > 0:
        kept -= 1
        text = whole[: (kept + 1) // 2] + "…" + whole[len(whole) - kept // 2 :]
    return text
