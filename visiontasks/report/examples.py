"""Samples of a report as pictures inside of the page."""

import base64
import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiontasks.outputs.drawing import resize
from visiontasks.report.content import RunContent
from visiontasks.report.html import escaped, legend, paragraph, section, shortened
from visiontasks.report.pictures import Picture, drawn_panels, legend_of, render

MOST_BYTES = 7_000_000
"""Of all pictures in a page, so that it stays below 10 MB."""
_SIDE_PX = 256
_TINY_PX = 96
"""Up to this side an image is stored as it is, and the browser enlarges its pixels."""
_JPEG_QUALITY = 85


def examples_sections(content: RunContent) -> list[str]:
    """A section for each group of pictures, as far as they fit into the page."""
    left = MOST_BYTES
    sections = []
    for title, pictures in content.pictures.items():
        figures = []
        for picture in pictures:
            figure = _figure(picture, content.class_names, content.score.name)
            left -= len(figure)
            if left >= 0:
                figures.append(figure)
        missing = len(pictures) - len(figures)
        is_pair, is_drawn = (
            any(each) for each in ((p.num_panels > 1 for p in pictures), (p.is_drawn for p in pictures))
        )
        kind = " pairs" if is_pair else " large" if is_drawn else ""
        sections.append(
            section(
                title,
                _legend(pictures, content.class_names),
                f'<div class="pictures{kind}">{"".join(figures)}</div>' if figures else "",
                paragraph(f"{missing} more would make this page too large.", "pale") if missing else "",
            )
        )
    return sections


def caption(picture: Picture, score_name: str) -> str:
    """Lines below a picture: its name, truth, prediction and score, as far as it has them."""
    name = f"sample {picture.name}" if picture.name.isdecimal() else picture.name  # else it reads like a class
    lines = [f'<span class="pale">{escaped(shortened(name, 80))}</span>']
    if picture.true_label is not None:
        lines.append(f"is {escaped(shortened(picture.true_label, 80))}")
    if picture.predicted_label is not None:
        probability = "" if picture.probability is None else f", probability {picture.probability:.3f}"
        called = f"called {escaped(shortened(picture.predicted_label, 80))}{probability}"
        lines.append(f'<span class="wrong">{called}</span>' if picture.is_wrong else f"found{probability}")
    has_score = picture.score is not None and not np.isnan(picture.score)
    if has_score and picture.is_drawn:
        lines.append(f"{escaped(score_name)} {picture.score:.3f}")
    return f"<figcaption>{'<br>'.join(lines)}</figcaption>"


def image_tag(pixels: NDArray[np.uint8], name: str, *, most_px: int = _SIDE_PX) -> str:
    """An image inside of the page.

    Args:
        pixels: RGB, (H, W, 3).
        name: What it shows, for who cannot see it.
        most_px: Of its longer side; a larger one is shrunk.
    """
    image = Image.fromarray(pixels)
    if max(image.size) <= _TINY_PX:
        return _tag(image, "PNG", name, ' class="tiny"')
    scale = min(1.0, most_px / max(image.size))
    return _tag(resize(image, (max(1, round(image.width * scale)), max(1, round(image.height * scale)))), "JPEG", name)


def titled(image: str, title: str) -> str:
    """An image under a line of text.

    Args:
        image: HTML.
        title: Text.
    """
    return f'<div><div class="pale">{escaped(shortened(title, 60))}</div>{image}</div>'


def _figure(picture: Picture, class_names: Sequence[str], score_name: str) -> str:
    if picture.num_panels > 1:
        panels = drawn_panels(picture, class_names).items()
        images = [titled(_tag(panel, "JPEG", f"{picture.name}, {title}"), title) for title, panel in panels]
        image = f'<div class="pair">{"".join(images)}</div>'
    elif picture.is_drawn:
        image = _tag(render(picture, class_names), "JPEG", picture.name)
    else:
        image = image_tag(picture.image, picture.name)
    return f"<figure>{image}{caption(picture, score_name)}</figure>"


def _tag(image: Image.Image, kind: Literal["PNG", "JPEG"], name: str, style: str = "") -> str:
    return f'<img{style} src="{_data_uri(image, kind)}" alt="{escaped(shortened(name, 80))}">'


def _data_uri(image: Image.Image, kind: Literal["PNG", "JPEG"]) -> str:
    content = io.BytesIO()
    options = {"quality": _JPEG_QUALITY} if kind == "JPEG" else {}
    image.save(content, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def _legend(pictures: Sequence[Picture], class_names: Sequence[str]) -> str:
    """What the colours in the pictures mean."""
    entries = [
        (f"rgb{entry.colour}", f"{shortened(entry.name, 40)}{', dashed' if entry.style == 'dashed line' else ''}")
        for entry in legend_of(pictures, class_names)
    ]
    return legend(entries) if entries else ""
