"""One picture with its prediction, at its own size as far as that can be seen."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.outputs import ClassScores, Detections, SemanticMask
from visiontasks.outputs.drawing import PREDICTED_BOX_COLOUR
from visiontasks.report.single import draw_prediction, drawn_size, save_picture, sheet

GREY = np.full((100, 300, 3), 128, np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((300, 200), (300, 200)), ((4000, 1000), (1600, 400)), ((28, 20), (224, 160)), ((1, 1), (224, 224))],
)
def test_pictures_keep_their_size_unless_they_are_huge_or_tiny(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert drawn_size(*size) == expected


def test_a_line_of_20000_pixels_keeps_a_height() -> None:
    assert drawn_size(20_000, 1) == (1600, 1)


def test_a_box_is_drawn_where_it_is() -> None:
    box = Detections((100, 300), np.float32([[30, 20, 150, 80]]))
    drawn = np.asarray(draw_prediction(GREY, box, []))
    assert drawn.shape[0] > 100  # a line of text below
    assert drawn.shape[1:] == (300, 3)
    rows, columns = np.where((drawn == PREDICTED_BOX_COLOUR).all(-1))
    assert abs(columns.min() - 30) <= 2
    assert abs(rows.max() - 80) <= 2


def test_text_stands_below_and_does_not_widen_the_picture() -> None:
    drawn = draw_prediction(GREY, ClassScores(np.float32([0.9, 0.1])), ["cat " * 50, "dog"])
    assert drawn.width == 300
    assert drawn.height > 130
    assert np.array_equal(np.asarray(drawn)[:100], GREY)


def test_a_mask_has_a_legend_of_its_classes() -> None:
    mask = np.zeros((100, 300), np.uint8)
    mask[:, 100:] = 1
    drawn = np.asarray(draw_prediction(GREY, SemanticMask(mask), ["background", "cat"]))
    assert drawn.shape[0] > 110
    assert (drawn[50, 50] == 128).all()
    assert not (drawn[50, 200] == 128).all()
    with pytest.raises(ValueError, match="expected classes 0..0"):
        draw_prediction(GREY, SemanticMask(mask), ["background"])


def test_a_picture_replaces_a_link_and_leaves_what_it_leads_to(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "original.png")
    (tmp_path / "drawn").mkdir()
    for suffix, quality in (("png", None), ("jpg", 90)):
        path = tmp_path / "drawn" / f"a.{suffix}"
        path.symlink_to(tmp_path / "original.png")
        save_picture(Image.new("RGB", (5, 4), "blue"), path, quality=quality)
        assert not path.is_symlink()
        with Image.open(path) as image:
            assert (image.size, image.format) == ((5, 4), "PNG" if quality is None else "JPEG")
    with Image.open(tmp_path / "original.png") as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)
    assert len(list((tmp_path / "drawn").iterdir())) == 2


def test_rows_of_a_sheet_stand_below_each_other() -> None:
    tile = Image.new("RGB", (50, 40))
    one, two, long = (sheet(rows) for rows in ([("a", [tile])], [("a", [tile]), ("b", [tile])], [("a", [tile] * 40)]))
    assert two.height > 2 * one.height - 60
    assert long.width <= 1040
