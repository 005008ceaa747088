"""One picture with its prediction drawn, at about its own size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from visiontasks.errors import printable
from visiontasks.report.layout import GAP, INK, font, framed, stacked, text_line, wrapped
from visiontasks.report.overlays import PREDICTED_BOX_COLOUR, draw_boxes, overlay_mask, resize
from visiontasks.report.pictures import Picture, mask_legend
from visiontasks.runs.checkpoint import unfinished

LONGEST, TINY = 1600, 224
"""Pixels: larger pictures are shrunk, so that what is drawn is seen; tiny ones are enlarged by a whole number."""
LEAST_WIDTH = 240
"""Of the lines of text."""
SHEET_WIDTH = 1000


def draw_prediction(picture: Picture, *, class_names: Sequence[str], lines: Sequence[str] = ()) -> Image.Image:
    """Draw the predicted boxes and mask into a picture, and write below it what is predicted.

    Args:
        picture: Its truth is left out.
        class_names: Names of the classes in the mask; "background" stays grey.
        lines: Text, a line each; too long ones lose their middle.

    Returns:
        RGB.

    Raises:
        ValueError: If the mask has a class without a name.
    """
    height, width = picture.image.shape[:2]
    image = resize(Image.fromarray(picture.image), drawn_size(width, height))
    legend = []
    if picture.predicted_mask is not None:
        image = overlay_mask(image, picture.predicted_mask, class_names)
        legend = mask_legend([replace(picture, true_mask=None)], class_names)
    draw_boxes(image, picture.predicted_boxes, PREDICTED_BOX_COLOUR, dashed=False)
    text_width = max(LEAST_WIDTH, image.width)
    blocks = [text_line(line, text_width, font(14), colour=INK) for line in lines]
    blocks += [wrapped(legend, text_width)] if legend else []
    return stacked([image, *blocks], 3) if blocks else image


def save_picture(image: Image.Image, path: Path, *, quality: int | None = None, title: str = "") -> None:
    """Write a picture whole or not at all; what stands under its name, a link too, is replaced and not written into.

    Args:
        image: The picture.
        path: Where; its folder must be there.
        quality: Of a JPEG, 1 to 95; None for a PNG.
        title: Of a PNG, kept in the file under that name.
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
