"""The resize as tensor operations, beside hand-worked pixels and beside the data's own resize."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from visiontasks.ops.resampling import Policy, TensorGeometry, resize, restore, sides
from visiontasks.outputs.geometry import LETTERBOX_GREY, place

# height and width of the image, of the target: shrinking, growing, halved, one of each, odd, tiny, long
SIZES = [
    ((375, 500), (224, 224)),
    ((500, 375), (224, 224)),
    ((281, 500), (96, 160)),
    ((448, 448), (224, 224)),
    ((90, 60), (30, 20)),
    ((96, 96), (32, 32)),
    ((128, 128), (32, 32)),
    ((8, 8), (32, 32)),
    ((17, 23), (64, 64)),
    ((31, 47), (32, 32)),
    ((300, 100), (150, 150)),
    ((100, 300), (150, 150)),
    ((200, 300), (224, 224)),
    ((3, 400), (64, 64)),
    ((400, 3), (64, 64)),
    ((1, 1), (8, 8)),
    ((1, 9), (4, 4)),
    ((64, 64), (64, 64)),
    ((64, 65), (64, 64)),
    ((224, 300), (224, 224)),
    ((1999, 1501), (224, 224)),
]
POLICIES: tuple[Policy, ...] = ("crop", "squash", "letterbox")


def textured(size: tuple[int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    """Noise over a gradient: every error in a weight shows, and the whole range of values is there."""
    height, width = size
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(-60, 60, height)[:, None, None]
    noise = np.random.default_rng(seed).integers(-70, 130, (height, width, 3))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def resized(image: np.ndarray[Any, Any], target: tuple[int, int], policy: Policy) -> np.ndarray[Any, Any]:
    batch = torch.from_numpy(image)[None]
    pixels = resize(batch, *sides(batch, target, policy), padding=LETTERBOX_GREY)
    assert pixels.dtype == torch.uint8
    return pixels[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_an_image_is_placed_where_the_data_places_it(size: Any, target: Any, policy: Policy) -> None:
    rows, columns = sides(torch.zeros(1, *size, 3, dtype=torch.uint8), target, policy)
    placement = place(size, target, policy)
    assert (int(rows.scaled), int(columns.scaled)) == placement.scaled
    assert (int(rows.start), int(columns.start)) == (-placement.top, -placement.left)
    left, top, right, bottom = placement.content
    assert rows.shows_image().nonzero().flatten().tolist() == list(range(top, bottom))
    assert columns.shows_image().nonzero().flatten().tolist() == list(range(left, right))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_pixels_are_those_of_the_data_within_one_grey_level(size: Any, target: Any, policy: Policy) -> None:
    image = textured(size)
    found, expected = resized(image, target, policy), place(size, target, policy).image(image)
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    shrinks = any(n < m for n, m in zip(place(size, target, policy).scaled, size, strict=True))
    assert (difference > 0).mean() <= (0.001 if shrinks else 0.1)


def test_areas_are_averaged_by_what_they_cover() -> None:
    image = np.repeat(np.array([[0, 30, 90]], np.uint8)[..., None], 3, axis=2)  # three pixels become two, of 1.5 each
    assert resized(image, (1, 2), "squash")[0, :, 0].tolist() == [10, 70]  # (0 + 30 / 2) / 1.5, (30 / 2 + 90) / 1.5


def test_halves_are_rounded_up_where_an_image_is_halved() -> None:
    image = np.zeros((2, 4, 3), np.uint8)
    image[0, 0], image[:, 2:] = 2, [[[1], [2]], [[1], [2]]]  # means 0.5 and 1.5
    assert resized(image, (1, 2), "squash")[0, :, 0].tolist() == [1, 2]


def test_growing_interpolates_between_the_middles_of_pixels() -> None:
    image = np.repeat(np.array([[0], [100]], np.uint8)[..., None], 3, axis=2)
    assert resized(image, (4, 2), "squash")[:, 0, 0].tolist() == [0, 25, 75, 100]


def test_a_letterbox_is_grey_beside_the_image() -> None:
    found = resized(np.full((2, 4, 3), 9, np.uint8), (4, 4), "letterbox")
    assert found[:, 0, 0].tolist() == [114, 9, 9, 114]


def test_images_of_a_batch_are_resized_one_by_one() -> None:
    images = torch.from_numpy(np.stack([textured((40, 60), seed) for seed in range(3)]))
    found = resize(images, *sides(images, (32, 32), "crop"), padding=0)
    for image, alone in zip(images, found, strict=True):
        batch = image[None]
        assert torch.equal(resize(batch, *sides(batch, (32, 32), "crop"), padding=0)[0], alone)


@pytest.mark.parametrize("policy", ["squash", "letterbox"])
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_scores_go_back_as_the_evaluation_takes_them(size: Any, target: Any, policy: Policy) -> None:
    scores = torch.randn(2, 3, *target)
    rows, columns = sides(torch.zeros(2, *size, 3, dtype=torch.uint8), target, policy)
    left, top, right, bottom = place(size, target, policy).content
    expected = F.interpolate(scores[..., top:bottom, left:right], size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(restore(scores, rows, columns, size), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_positions_go_back_as_boxes_do(size: Any, target: Any, policy: Policy) -> None:
    rows, columns = sides(torch.zeros(1, *size, 3, dtype=torch.uint8), target, policy)
    box = np.array([0.1, 0.2, 0.7, 0.95], np.float32)  # in 0..1 of the resized image
    height, width = size
    geometry = place(size, target, policy)
    expected = geometry.original_boxes(box * geometry.unit).clip(0, [width, height, width, height])
    found = TensorGeometry(rows, columns, size, is_resized=True).original_boxes(torch.tensor(box))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-3)
