"""A grid of pictures with their predictions and their truth, as one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from visiontasks.outputs import LegendEntry, Output
from visiontasks.outputs.drawing import draw_boxes, font, hatch, resize
from visiontasks.report.html import certainty
from visiontasks.report.layout import GAP, INK, PALE_INK, PAPER, beside, framed, stacked, text_line, wrapped

# Pixels. The longest side of a picture, and of each of two side by side; tiny ones are enlarged towards _TINY.
_SIDE, _PAIR_SIDE, _TINY = 320, 256, 224
_MAX_PAGE, _MIN_PAGE, _MIN_CELL, _PAIR_GAP = 1600, 480, 180, 3
_MAX_COLUMNS = 6
_COMPRESSION = 3  # of 9; 6, the default, takes 2.5 times as long for 3 % less of a page of photographs
_WRONG_INK = (190, 20, 40)


@dataclass(frozen=True, eq=False)
class Picture:
    """What is drawn of one sample; whatever is None is left out.

    Args:
        image: uint8, (H, W, 3), RGB.
        name: The file's name, or the sample's index.
        score: How good the prediction is: IoU, mean IoU, probability of the true class; NaN counts as None.
        true_label: Name of the true class.
        predicted_label: Name of the predicted class.
        probability: The network's probability of the predicted class, 0..1.
        truth: The annotation, of the image.
        prediction: What is predicted of the image.
        original: What the image was made of, drawn beside it.

    Raises:
        ValueError: If the image has another type or shape, or an output is of another size.
    """

    image: NDArray[np.uint8]
    name: str
    score: float | None = None
    true_label: str | None = None
    predicted_label: str | None = None
    probability: float | None = None
    truth: Output | None = None
    prediction: Output | None = None
    original: "Picture | None" = None

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"{self.name}: expected an image uint8 (H, W, 3), got {_described(self.image)}")
        size = self.image.shape[:2]
        for output in (self.truth, self.prediction):
            if output is not None and output.image_size not in (None, size):
                raise ValueError(f"{self.name}: expected an output for an image of {size}, got {output.image_size}")

    @property
    def num_panels(self) -> int:
        """How many pictures are drawn of it."""
        if self.original is not None:
            return 2
        return 1 if self.prediction is None else self.prediction.num_panels(self.truth)

    @property
    def is_drawn(self) -> bool:
        """Whether the prediction, or else the annotation, is drawn into the image, and not only named."""
        drawn = self.truth if self.prediction is None else self.prediction
        return drawn is not None and not drawn.is_of_whole_image

    @property
    def is_wrong(self) -> bool:
        """Whether truth and prediction name different classes."""
        labels = (self.true_label, self.predicted_label)
        return None not in labels and labels[0] != labels[1]


def worst_and_random(
    index: ArrayLike, score: ArrayLike, *, count: int = 12, seed: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose the samples to look at: the worst, and some of all others, none of them twice.

    Args:
        index: Index of each sample, (n,), in any order; of a repeated one only the first counts.
        score: Score of each sample, (n,), higher is better. One without truth has NaN; it is never among the worst.
        count: How many of each.
        seed: Decides which of the others are drawn.

    Returns:
        Two arrays of positions in `index` and `score`, each of `count` or as many as there are: the worst, from the
        lowest score up (equal ones by index), and the others, by index.
    """
    _, rows = np.unique(np.asarray(index), return_index=True)
    scores = np.asarray(score, dtype=np.float64)[rows]
    order = np.argsort(scores, kind="stable")  # puts NaN last
    worst = order[: min(count, np.count_nonzero(~np.isnan(scores)))]
    others = np.setdiff1d(order, worst)
    drawn = np.random.default_rng(seed).choice(others, min(count, len(others)), replace=False)
    return rows[worst], rows[np.sort(drawn)]


def draw_grid(
    sections: Mapping[str, Sequence[Picture]], path: Path, *, class_names: Sequence[str], score_name: str = "score"
) -> None:
    """Write `grid` as a PNG.

    Args:
        sections: See `grid`.
        path: The file to write.
        class_names: By class index.
        score_name: See `grid`.

    Raises:
        ValueError: If there are no pictures, or a mask has a class without a name.
    """
    drawn = grid(sections, class_names=class_names, score_name=score_name)
    drawn.save(path, format="PNG", compress_level=_COMPRESSION)


def grid(
    sections: Mapping[str, Sequence[Picture]], *, class_names: Sequence[str], score_name: str = "score"
) -> Image.Image:
    """Draw titled sections of pictures below each other; the same input gives the same pixels.

    Boxes of truth and prediction are drawn on one picture, masks as colours over a grey one each. Large pictures are
    shrunk, tiny ones enlarged. Pixels of a class called "background" stay grey.

    Args:
        sections: Pictures by title; an empty section is left out.
        class_names: By class index.
        score_name: What the pictures' scores are, such as IoU.

    Raises:
        ValueError: If there are no pictures, or a mask has a class without a name.
    """
    pictures = [picture for section in sections.values() for picture in section]
    if not pictures:
        raise ValueError("expected at least one picture, got none")
    legend = [legend_entry(entry) for entry in legend_of(pictures, class_names)]
    panels = {id(picture): render(picture, class_names) for picture in pictures}
    width = max(_MIN_CELL, *(panel.width for panel in panels.values()))
    columns = _columns(max(map(len, sections.values())), width)
    page_width = max(_MIN_PAGE, columns * (width + GAP) - GAP)
    blocks = [wrapped(legend, page_width)] if legend else []
    for title, section in sections.items():
        cells = [(_heading(p, width, panels[id(p)].width, score_name), panels[id(p)]) for p in section]
        rows = [_row(cells[i : i + columns], width) for i in range(0, len(cells), columns)]
        if rows:
            blocks.append(stacked([text_line(title, page_width, font(18, bold=True)), *rows], GAP))
    return framed(stacked(blocks, 2 * GAP))


def _described(array: NDArray[np.uint8]) -> str:
    return f"{array.dtype} {array.shape}"


def _columns(longest: int, width: int) -> int:
    """As many as fit, but no more than give the longest section rows of equal length."""
    fitting = min(_MAX_COLUMNS, max(1, (_MAX_PAGE + GAP) // (width + GAP)))
    return -(-longest // -(-longest // fitting))


def render(picture: Picture, class_names: Sequence[str]) -> Image.Image:
    """The picture with its boxes, or one for each mask side by side."""
    panels = drawn_panels(picture, class_names)
    titled = [
        stacked([text_line(title, panel.width, font(11), colour=PALE_INK), panel], 2) if title else panel
        for title, panel in panels.items()
    ]
    return beside(titled, _PAIR_GAP)


def drawn_panels(picture: Picture, class_names: Sequence[str], *, side: int | None = None) -> dict[str, Image.Image]:
    """The picture with its prediction, or one for each of truth and prediction, by title.

    Args:
        picture: What to draw.
        class_names: By class index.
        side: Longest side of each in pixels; by default less for several.
    """
    side = side or (_PAIR_SIDE if picture.num_panels > 1 else _SIDE)
    if picture.original is not None:
        (before,), (after,) = (
            drawn_panels(each, class_names, side=side).values()
            for each in (picture.original, replace(picture, original=None))
        )
        return {"original": before, "network's input": after}
    height, width = picture.image.shape[:2]
    image = resize(Image.fromarray(picture.image), _drawn_size(width, height, side))
    if picture.prediction is None:
        return {"": image if picture.truth is None else picture.truth.draw_annotation(image, class_names)}
    return picture.prediction.draw(image, class_names, picture.truth)


def _drawn_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Tiny pictures grow by a whole number; others shrink to the side, and to 3/4 of its square in area."""
    longest = max(width, height)
    scale = float(_TINY // longest)
    if scale < 1:
        scale = min(1.0, side / longest, side * (0.75 / (width * height)) ** 0.5)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _heading(picture: Picture, width: int, panel_width: int, score_name: str) -> Image.Image:
    """Name and score over the picture, and its labels below them over the cell's width."""
    typeface = font(12)
    scored = picture.score is not None and not np.isnan(picture.score)
    score = f"{score_name} {picture.score:.2f}" if scored else ""
    line_width = max(_MIN_CELL, panel_width)
    score_width = min(ceil(typeface.getlength(score)), line_width // 2)
    name = text_line(picture.name, line_width - score_width - 8, typeface, colour=PALE_INK)
    wrong = picture.is_wrong
    labels = [
        text_line(line, width, font(12, bold=True), colour=_WRONG_INK if wrong else INK)
        for line in _label_lines(picture, width, wrong=wrong)
    ]
    return stacked([beside([name, text_line(score, score_width, typeface)], 8), *labels], 0)


def _label_lines(picture: Picture, width: int, *, wrong: bool) -> list[str]:
    """`true: cat, predicted: dog (93.0 %)`, on two lines where the names are long; a single name alone."""
    true, predicted = picture.true_label, picture.predicted_label
    if predicted is None:
        return [] if true is None else [true]
    probability = "" if picture.probability is None else f" ({certainty(picture.probability)})"
    if true is None:
        return [f"{predicted}{probability}"]
    first, second = f"{'✗ ' if wrong else ''}true: {true}", f"predicted: {predicted}{probability}"
    whole = f"{first}, {second}"
    return [whole] if font(12, bold=True).getlength(whole) <= width else [first, second]


def legend_of(pictures: Sequence[Picture], class_names: Sequence[str]) -> list[LegendEntry]:
    """What the colours in pictures mean, each once.

    Raises:
        ValueError: If a class has no name.
    """
    of_each = [p.prediction.legend(class_names, p.truth) for p in pictures if p.prediction is not None]
    of_each += [p.truth.legend(class_names) for p in pictures if p.prediction is None and p.truth is not None]
    entries = dict.fromkeys(entry for of_picture in of_each for entry in of_picture)
    return sorted(entries, key=lambda entry: entry.order)


def legend_entry(entry: LegendEntry) -> Image.Image:
    """A sample of a colour with its name beside it."""
    if entry.style in ("line", "dashed line"):
        swatch = Image.new("RGB", (42, 15), PAPER)
        draw_boxes(swatch, [[0.06, 0.5, 0.94, 0.5]], entry.colour, dashed=entry.style == "dashed line")
    else:
        swatch = hatch(24, 14) if entry.style == "hatched" else Image.new("RGB", (24, 14), entry.colour)
    typeface = font(12)
    return beside([swatch, text_line(entry.name, min(200, ceil(typeface.getlength(entry.name)) + 1), typeface)], 6)


def _row(cells: Sequence[tuple[Image.Image, Image.Image]], width: int) -> Image.Image:
    """Headings with their pictures, which all begin at one height."""
    height = max(heading.height for heading, _ in cells)
    return beside([stacked(cell, 3 + height - cell[0].height) for cell in cells], GAP, least_width=width)
