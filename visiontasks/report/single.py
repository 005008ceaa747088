"""One picture with its prediction drawn, at about its own size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from visiontasks.errors import printable
from visiontasks.outputs import Output
from visiontasks.outputs.drawing import font, resize
from visiontasks.report.layout import GAP, INK, framed, stacked, text_line, wrapped
from visiontasks.report.pictures import legend_entry
from visiontasks.runs.checkpoint import unfinished

LONGEST, TINY = 1600, 224
"""Pixels: larger pictures are shrunk, so that lines stay visible; tiny ones are enlarged by a whole number."""
LEAST_WIDTH = 240
"""Of the lines of text."""
SHEET_WIDTH = 1000


def draw_prediction(pixels: NDArray[np.uint8], prediction: Output, class_names: Sequence[str]) -> Image.Image:
    """Draw a prediction into its image, with a legend and lines of text below it.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        prediction: Of the image.
        class_names: By class index.

    Returns:
        RGB.

    Raises:
        ValueError: If the prediction has a class without a name.
    """
    height, width = pixels.shape[:2]
    image = resize(Image.fromarray(pixels), drawn_size(width, height))
    (drawn,) = prediction.draw(image, class_names).values()
    text_width = max(LEAST_WIDTH, drawn.width)
    lines = prediction.caption(class_names)
    legend = [legend_entry(entry) for entry in prediction.legend(class_names)]
    blocks = [text_line(line, text_width, font(14), colour=INK) for line in lines]
    blocks += [wrapped(legend, text_width)] if legend else []
    return stacked([drawn, *blocks], 3) if blocks else drawn


def save_picture(image: Image.Image, path: Path, *, quality: int | None = None, title: str = "") -> None:
    """Write a picture whole or not at all; a file or link of that name is replaced, not written into.

    Args:
        image: The picture.
        path: Where; its folder must be there.
        quality: Of a JPEG, 1 to 95; None for a PNG.
        title: Of a PNG, stored in the file.
    """
    beside = unfinished(path.with_name("picture"))  # the file's own name may be as long as names can be
    try:
        if quality is None:
            texts = PngInfo()
            if title:
                texts.add_text("Title", printable(title))
            image.save(beside, format="PNG", pnginfo=texts)
        else:
            image.save(beside, format="JPEG", quality=quality)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def drawn_size(width: int, height: int) -> tuple[int, int]:
    """Width and height at which a picture is drawn."""
    longest = max(width, height)
    scale = min(1.0, LONGEST / longest) if longest > TINY else float(TINY // longest)
    return max(1, round(width * scale)), max(1, round(height * scale))


def sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Titled rows of pictures below each other.

    Args:
        rows: A title and its pictures, at least one; rows break where they are wider than a page.
    """
    blocks = []
    for title, pictures in rows:
        row = wrapped(pictures, SHEET_WIDTH)
        blocks.append(stacked([text_line(title, max(LEAST_WIDTH, row.width), font(14)), row], 4))
    return framed(stacked(blocks, GAP))
