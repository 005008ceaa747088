"""The geometry of the resize policies, for images, boxes and masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from visiontasks.data import resize_image
from visiontasks.outputs.geometry import LETTERBOX_GREY, Geometry, Resize, box_units, place, scaled_size

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "policy", "expected"),
    [
        (100, 50, "crop", (448, 224)),
        (50, 100, "crop", (224, 448)),
        (333, 500, "crop", (224, 336)),  # 336.3
        (333, 500, "letterbox", (149, 224)),  # 149.2
        (448, 3, "letterbox", (224, 2)),  # 1.5 is rounded up
        (448, 1, "letterbox", (224, 1)),  # 0.5 too
        (1000, 1, "letterbox", (224, 1)),  # but nothing vanishes
        (333, 500, "squash", (224, 224)),
    ],
)
def test_sizes_before_crop_or_padding(height: int, width: int, policy: Resize, expected: tuple[int, int]) -> None:
    assert scaled_size((height, width), (224, 224), policy) == expected


def test_crop_takes_the_middle() -> None:
    # 2 high, 7 wide, at its own scale: columns 2 and 3 of 0..6 ((7 - 2) // 2 = 2).
    image = np.arange(7, dtype=np.uint8)[None, :, None].repeat(2, 0).repeat(3, 2)
    assert resize_image(image, 2, "crop")[:, :, 0].tolist() == [[2, 3], [2, 3]]


def test_crop_averages_over_areas_when_it_shrinks() -> None:
    # 4 high, 8 wide, to 2: half, so each pixel is the mean of 2x2; then columns 1 and 2 of 0..3.
    image = np.arange(32, dtype=np.uint8).reshape(4, 8, 1).repeat(3, 2) * 4
    means = image.reshape(2, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_array_equal(resize_image(image, 2, "crop"), means[:, 1:3])


def test_squash_averages_over_areas() -> None:
    image = np.arange(0, 96, 4, dtype=np.uint8).reshape(4, 6, 1).repeat(3, 2)
    means = image.reshape(2, 2, 2, 3, 3).mean((1, 3))
    np.testing.assert_array_equal(resize_image(image, 2, "squash"), means)


def test_letterbox_pads_evenly_and_the_odd_row_comes_below() -> None:
    # 2 high, 5 wide, at its own scale: 3 rows to add, 1 above and 2 below.
    image = np.full((2, 5, 3), 9, np.uint8)
    rows = resize_image(image, 5, "letterbox")[:, :, 0].tolist()
    grey = [LETTERBOX_GREY] * 5
    assert rows == [grey, [9] * 5, [9] * 5, grey, grey]


def test_letterbox_pads_a_tall_image_left_and_right() -> None:
    columns = resize_image(np.full((4, 2, 3), 9, np.uint8), 4, "letterbox")[0, :, 0].tolist()
    assert columns == [LETTERBOX_GREY, 9, 9, LETTERBOX_GREY]


def test_enlarging_is_linear() -> None:
    image = np.array([[0, 100]], np.uint8)[:, :, None].repeat(3, 2)
    # Centres of the new pixels lie at -0.25, 0.25, 0.75, 1.25 of the old.
    assert resize_image(image, 4, "squash")[0, :, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("policy", ["crop", "squash", "letterbox"])
def test_an_image_of_the_right_size_is_left_alone(policy: Resize) -> None:
    assert resize_image(IMAGE, 16, policy) is IMAGE


@pytest.mark.parametrize("policy", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (299, 301), (7, 5), (224, 223)])
def test_every_policy_gives_the_square_asked_for(policy: Resize, shape: tuple[int, int]) -> None:
    resized = resize_image(np.full((*shape, 3), 50, np.uint8), 224, policy)
    assert resized.shape == (224, 224, 3)
    assert resized.dtype == np.uint8


@pytest.mark.parametrize(
    ("size", "policy", "scaled", "corner"),
    [
        ((100, 200), "crop", (40, 80), (0, -10)),  # by the height: 100 -> 40, the width of 80 gives 60
        ((100, 100), "crop", (60, 60), (-10, 0)),
        ((100, 200), "letterbox", (30, 60), (5, 0)),
        ((100, 100), "letterbox", (40, 40), (0, 10)),
        ((100, 200), "squash", (40, 60), (0, 0)),
        ((80, 120), "crop", (40, 60), (0, 0)),
    ],
)
def test_an_oblong_target(
    size: tuple[int, int], policy: Resize, scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    geometry = place(size, (40, 60), policy)
    assert geometry.scaled == scaled
    assert (geometry.top, geometry.left) == corner
    assert geometry.image(np.zeros((*size, 3), np.uint8)).shape == (40, 60, 3)


def test_keep_leaves_everything_as_it_is() -> None:
    geometry = place((16, 16), (224, 224), "keep")
    assert geometry.image(IMAGE) is IMAGE
    assert geometry.target == (16, 16)


BOX = np.array([[20, 10, 60, 50], [np.nan] * 4], np.float32)  # in an image 100 high and 200 wide


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("squash", [10, 10, 30, 50]),
        ("letterbox", [10, 30, 30, 50]),  # 100 x 200 -> 50 x 100 with 25 rows above
        ("crop", [-30, 10, 10, 50]),  # 100 x 200 kept, 50 columns cut at the left
        ("keep", [20, 10, 60, 50]),
    ],
)
def test_boxes_follow_the_image_and_are_not_cut(policy: Resize, expected: list[float]) -> None:
    geometry = place((100, 200), (100, 100), policy)
    boxes = geometry.boxes(BOX)
    np.testing.assert_allclose(boxes, [expected, [np.nan] * 4], atol=1e-4)
    np.testing.assert_allclose(geometry.original_boxes(boxes), BOX, atol=1e-4)
    assert boxes.dtype == geometry.original_boxes(boxes).dtype == np.float32


def test_a_mask_takes_the_nearest_pixel_and_its_padding_is_marked() -> None:
    mask = np.array([[0, 1, 2, 3]], np.uint8).repeat(2, 0)
    assert place((2, 4), (2, 2), "squash").mask(mask, padding=255).tolist() == [[1, 3], [1, 3]]
    padded = place((2, 4), (4, 4), "letterbox")
    assert padded.mask(mask, padding=255)[:, 1].tolist() == [255, 1, 1, 255]
    assert padded.content == (0, 1, 4, 3)


def test_the_content_of_a_cropped_image_is_the_whole_target() -> None:
    assert place((100, 200), (40, 40), "crop").content == (0, 0, 40, 40)


def test_a_geometry_is_a_row_of_a_batch() -> None:
    geometry = place((30, 70), (40, 60), "letterbox")
    row = [30, 70, 26, 60, 40, 60, 7, 0]  # 30 * 60 / 70 = 25.7 rows, 14 of padding
    assert geometry.row().tolist() == row
    assert geometry.row().dtype == np.int64
    assert Geometry.of(row) == Geometry.of(torch.tensor(row)) == geometry
    assert geometry.unit.tolist() == [60, 40, 60, 40]
    assert box_units(torch.tensor([row, row])).tolist() == [[60, 40, 60, 40]] * 2


@pytest.mark.parametrize(
    ("size", "policy", "left", "content"),
    [
        ((4, 1), "letterbox", 4, (4, 0, 6, 8)),  # 8 x 2 in columns 2 and 3 of 8, then in 4 and 5
        ((8, 9), "crop", -1, (0, 0, 8, 8)),  # a column too many, cut at the right, then at the left
        ((3, 5), "squash", 0, (0, 0, 8, 8)),
    ],
)
def test_a_mirrored_geometry(size: tuple[int, int], policy: Resize, left: int, content: tuple[int, ...]) -> None:
    geometry = place(size, (8, 8), policy)
    if policy == "letterbox":
        geometry = replace(geometry, left=2)
    assert geometry.mirrored().left == left
    assert geometry.mirrored().content == content
    assert geometry.mirrored().mirrored() == geometry


def test_a_map_goes_back_to_the_original_without_its_padding() -> None:
    # 2 x 4 in 4 x 4 has a row above and below; each value of the content is the mean of 2 x 2 when it shrinks back
    geometry = place((1, 2), (4, 4), "letterbox")
    values = torch.full((1, 4, 4), torch.nan)
    values[0, 1:3] = torch.tensor([[1.0, 3.0, 10.0, 20.0], [5.0, 7.0, 30.0, 40.0]])
    assert geometry.original_map(values).tolist() == [[[4.0, 25.0]]]
    assert place((2, 2), (1, 1), "squash").original_map(torch.tensor([[[7.0]]])).tolist() == [[[7.0, 7.0]] * 2]
