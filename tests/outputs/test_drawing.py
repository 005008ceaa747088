from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from visiontasks.outputs.drawing import IGNORED, PREDICTED_BOX_COLOUR, TRUE_BOX_COLOUR, draw_boxes, overlay_mask, resize

GREY = (128, 128, 128)


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def colours_of(count: int) -> list[tuple[int, ...]]:
    """The colours of `count` classes over grey."""
    names = [f"class {k}" for k in range(count)]
    shown = overlay_mask(grey(count, 1), np.arange(count, dtype=np.uint8)[None], names)
    return [tuple(pixel) for pixel in np.asarray(shown)[0].tolist()]


def test_a_box_is_drawn_along_its_edges_and_not_inside() -> None:
    image = grey(101, 51)
    draw_boxes(image, [[0.2, 0.2, 0.8, 0.6]], TRUE_BOX_COLOUR, dashed=False)  # 20, 10, 80, 30
    for pixel in [(20, 10), (80, 10), (80, 30), (20, 30), (50, 10), (50, 30), (20, 20), (80, 20)]:
        assert image.getpixel(pixel) == TRUE_BOX_COLOUR
    for pixel in [(50, 20), (10, 20), (90, 20), (50, 5), (50, 35)]:
        assert image.getpixel(pixel) == GREY


def test_a_dashed_box_has_gaps() -> None:
    image = grey(101, 51)
    draw_boxes(image, [[0.2, 0.2, 0.8, 0.6]], PREDICTED_BOX_COLOUR, dashed=True)
    top = [image.getpixel((x, 10)) for x in range(20, 80)]
    assert PREDICTED_BOX_COLOUR in top
    assert GREY in top


@pytest.mark.parametrize("boxes", [None, [], [[np.nan] * 4], [[0.1, 0.1, np.nan, 0.9]]])
def test_what_is_no_box_draws_nothing(boxes: object) -> None:
    image = grey(40, 30)
    draw_boxes(image, boxes, TRUE_BOX_COLOUR, dashed=False)
    assert np.all(np.asarray(image) == 128)


def test_a_box_beside_one_without_numbers_is_drawn() -> None:
    image = grey(101, 51)
    draw_boxes(image, [[np.nan] * 4, [0.2, 0.2, 0.8, 0.6]], TRUE_BOX_COLOUR, dashed=False)
    assert image.getpixel((50, 10)) == TRUE_BOX_COLOUR


def test_a_box_that_reaches_outside_is_cut_to_the_picture() -> None:
    image = grey(101, 51)
    draw_boxes(image, [[-3.0, 0.2, 0.5, np.inf]], TRUE_BOX_COLOUR, dashed=False)
    for pixel in [(0, 30), (50, 30), (25, 10), (25, 50)]:
        assert image.getpixel(pixel) == TRUE_BOX_COLOUR
    assert image.getpixel((75, 30)) == GREY


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.5], [0.8, 0.6, 0.2, 0.2], [1.5, 1.5, 2.0, 2.0]])
def test_a_box_without_area_raises_nothing(box: list[float]) -> None:
    for dashed in (False, True):
        draw_boxes(grey(20, 10), [box], TRUE_BOX_COLOUR, dashed=dashed)


def test_classes_are_tinted_and_the_background_stays_grey() -> None:
    mask = np.array([[0, 1]], np.uint8).repeat(10, 1).repeat(8, 0)
    image = Image.new("RGB", (20, 8), (255, 0, 0))  # 76 in grey: 0.299 * 255
    shown = overlay_mask(image, mask, ["Background", "cat"])
    assert shown.getpixel((4, 4)) == (76, 76, 76)
    # the second colour of the list, (245, 130, 49): 0.6 of it and 0.4 of 76
    assert np.abs(np.array(shown.getpixel((15, 4))) - [177.4, 108.4, 59.8]).max() <= 1


def test_an_ignored_pixel_has_no_colour_and_is_hatched() -> None:
    shown = np.asarray(overlay_mask(Image.new("RGB", (16, 16), (0, 99, 255)), np.full((16, 16), IGNORED, np.uint8), []))
    assert np.all(shown == shown[..., :1])
    assert len(np.unique(shown)) == 2


def test_a_mask_is_stretched_to_the_picture() -> None:
    mask = np.zeros((400, 200), np.uint8)
    mask[:200] = 1
    shown = np.asarray(overlay_mask(grey(20, 40), mask, ["cat", "dog"])).astype(int)
    cat, dog = colours_of(2)
    assert np.abs(shown[:20] - dog).max() <= 1
    assert np.abs(shown[20:] - cat).max() <= 1


def test_twenty_classes_look_different_and_stay_so_beside_others() -> None:
    colours = colours_of(20)
    assert min(np.abs(np.subtract(a, b)).max() for a, b in combinations(colours, 2)) >= 20
    assert colours_of(150)[:20] == colours


def test_255_classes_have_255_colours() -> None:
    assert len(set(colours_of(255))) == 255


def test_enlarged_pixels_are_squares_of_one_colour() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    enlarged = np.asarray(resize(Image.fromarray(pixels), (6, 6)))
    assert np.array_equal(enlarged, pixels.repeat(3, 0).repeat(3, 1))
