"""Samples of a report as pictures inside of the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiontasks.outputs.drawing import resize
from visiontasks.report.content import RunContent
from visiontasks.report.html import certainty, escaped, legend, paragraph, section, shortened, zoomable
from visiontasks.report.pictures import Picture, drawn_panels, legend_of

MOST_BYTES = 7_000_000
"""Of all pictures in a page, so that it stays below 10 MB."""
_SIDE_PX, _DRAWN_PX, _PANEL_PX = 288, 400, 288
"""Longest sides: of an image, of one with boxes, and of each of several side by side. They may be enlarged."""
_TINY_PX = 96
"""Up to this side an image is stored as it is, and the browser enlarges its pixels."""
_JPEG_QUALITY = 82
_TRAINING_PX = 224


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
        sections.append(
            section(
                title,
                _legend(pictures, content.class_names),
                _grid(pictures, figures),
                paragraph(f"{missing} more would make this page too large.", "pale") if missing else "",
            )
        )
    return sections


def training_section(content: RunContent) -> str:
    """Samples of the first training batch, augmented, with their annotation."""
    pictures = [replace(picture, original=None) for picture in content.training]
    figures = [_figure(picture, content.class_names, "", most_px=_TRAINING_PX) for picture in pictures]
    mixed = [name for name in ("mixup", "cutmix") if content.option("model", "init_args", f"{name}_alpha")]
    mixing = f" Afterwards, {' or '.join(mixed)} blends two of them." if mixed else ""
    about = (
        "The first images of epoch 1 as the network gets them: augmented, resized, with their annotation. They should "
        f"still be easy to recognize.{mixing}"
    )
    return section(
        "Training batch",
        paragraph(about) if figures else "",
        _legend(pictures, content.class_names),
        _grid(pictures, figures),
    )


def caption(picture: Picture, score_name: str) -> str:
    """Lines below a picture: its name, truth, prediction and score, as far as it has them."""
    lines = [f'<span class="pale">{escaped(shortened(sample_title(picture), 80))}</span>']
    true, predicted = (
        None if label is None else escaped(shortened(label, 80))
        for label in (picture.true_label, picture.predicted_label)
    )
    if predicted is not None:
        probability = "" if picture.probability is None else f" ({certainty(picture.probability)})"
        truth = "" if true is None else f"true: {true}, "
        line = f"{truth}predicted: {predicted}{probability}"
        lines.append(f'<span class="wrong">{line}</span>' if picture.is_wrong else line)
    elif true is not None:
        lines.append(f"label: {true}")
    has_score = picture.score is not None and not np.isnan(picture.score)
    if has_score and picture.is_drawn:
        lines.append(f"{escaped(score_name)} {picture.score:.3f}")
    return f"<figcaption>{'<br>'.join(lines)}</figcaption>"


def sample_title(picture: Picture) -> str:
    """The file's name; a sample without a file is numbered, and its bare number would read like a class."""
    return f"sample {picture.name}" if picture.name.isdecimal() else picture.name


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


def panels(images: Mapping[str, str]) -> str:
    """Images beside each other, each below its title.

    Args:
        images: HTML by title.
    """
    each = (f"<span><small>{escaped(shortened(title, 60))}</small>{image}</span>" for title, image in images.items())
    return f'<span class="pair">{"".join(each)}</span>'


def _figure(picture: Picture, class_names: Sequence[str], score_name: str, *, most_px: int | None = None) -> str:
    if picture.num_panels > 1:
        drawn = drawn_panels(picture, class_names, side=_PANEL_PX)
        image = panels({title: _tag(panel, "JPEG", f"{picture.name}, {title}") for title, panel in drawn.items()})
    elif picture.is_drawn:
        (panel,) = drawn_panels(picture, class_names, side=most_px or _DRAWN_PX).values()
        image = _tag(panel, "JPEG", picture.name)
    else:
        image = image_tag(picture.image, picture.name, most_px=most_px or _SIDE_PX)
    return f"<figure>{zoomable(image, sample_title(picture))}{caption(picture, score_name)}</figure>"


def _grid(pictures: Sequence[Picture], figures: Sequence[str]) -> str:
    """Figures in columns that suit what the pictures have."""
    if not figures:
        return ""
    is_pair, is_drawn = (any(each) for each in ((p.num_panels > 1 for p in pictures), (p.is_drawn for p in pictures)))
    kind = " pairs" if is_pair else " large" if is_drawn else ""
    return f'<div class="pictures{kind}">{"".join(figures)}</div>'


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
