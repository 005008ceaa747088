"""Windows that cover an image, and predictions blended by weights worked out by hand."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from visiontasks.ops.windows import sliding_window


def pointwise(image: Tensor) -> Tensor:
    """Two outputs from three channels, each pixel by itself."""
    return torch.stack([image.sum(1), image[:, 0] * 2 - 1], 1)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("size", [(8, 12), (5, 7), (16, 24), (3, 40), (17, 23), (1, 1), (9, 12)])
def test_a_pointwise_prediction_is_that_of_the_whole_image(size: tuple[int, int], overlap: float) -> None:
    image = torch.randn(2, 3, *size)
    shapes = set()

    def predict(window: Tensor) -> Tensor:
        shapes.add(tuple(window.shape))
        return pointwise(window)

    blended = sliding_window(image, predict, window=(8, 12), overlap=overlap)
    assert shapes == {(2, 3, 8, 12)}
    assert blended.dtype == torch.float32
    torch.testing.assert_close(blended, pointwise(image), atol=1e-5, rtol=0)


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where the windows along one side begin."""
    found: list[int] = []

    def note(part: Tensor) -> Tensor:
        found.append(int(part[0, 0, 0, 0]))
        return part

    positions = torch.arange(length, dtype=torch.float32).view(1, 1, 1, length)
    sliding_window(positions, note, window=(1, window), overlap=overlap)
    return found


@pytest.mark.parametrize(
    ("length", "window", "overlap", "expected"),
    [
        (10, 10, 0.5, [0]),
        (4, 10, 0.5, [0]),
        (20, 10, 0.0, [0, 10]),
        (21, 10, 0.0, [0, 6, 11]),  # two do not cover it: steps of 5.5
        (20, 10, 0.5, [0, 5, 10]),
        (11, 10, 0.5, [0, 1]),
        (4, 2, 0.99, [0, 1, 2]),  # a step is one pixel at least
    ],
)
def test_windows_lie_evenly_from_border_to_border(
    length: int, window: int, overlap: float, expected: list[int]
) -> None:
    assert starts(length, window, overlap) == expected


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.75])
def test_every_pixel_is_covered_and_neighbours_overlap_by_what_was_asked(overlap: float) -> None:
    for length in range(1, 60):
        found = starts(length, 9, overlap)
        covered = {pixel for start in found for pixel in range(start, start + 9)}
        assert covered >= set(range(length))
        steps = [end - start for start, end in pairwise(found)]
        assert all(step <= max(1, 9 * (1 - overlap)) + 1 for step in steps)  # rounded to whole pixels


def test_overlapping_predictions_are_averaged_by_weights_that_fall_towards_the_border() -> None:
    # windows 0..3 and 2..5 with weights 1 2 2 1: pixels 2 and 3 lie in both
    values = iter([10.0, 40.0])
    blended = sliding_window(
        torch.zeros(1, 1, 1, 6), lambda part: torch.full_like(part, next(values)), window=(1, 4), overlap=0.5
    )
    in_both = [(2 * 10 + 1 * 40) / 3, (1 * 10 + 2 * 40) / 3]
    assert blended.flatten().tolist() == pytest.approx([10, 10, *in_both, 40, 40])


def test_weights_of_both_sides_are_multiplied() -> None:
    # Of windows of 3x3 pixels at a step of 1, the middle pixel of 4x4 has the weights of 2 1, 2 1 in each direction.
    values = iter([1.0, 2.0, 3.0, 4.0])
    blended = sliding_window(
        torch.zeros(1, 1, 4, 4), lambda part: torch.full_like(part, next(values)), window=(3, 3), overlap=0.5
    )
    assert blended[0, 0, 1, 1].item() == pytest.approx((4 * 1 + 2 * 2 + 2 * 3 + 1 * 4) / 9)
    assert blended[0, 0, 0, 0].item() == 1
    assert blended[0, 0, 3, 3].item() == 4


def test_half_precision_predictions_are_blended_in_float32() -> None:
    blended: Any = sliding_window(torch.ones(1, 1, 9, 9), lambda part: (part / 3).bfloat16(), window=(4, 4))
    assert blended.dtype == torch.float32
    torch.testing.assert_close(blended, torch.full((1, 1, 9, 9), float(torch.tensor(1 / 3).bfloat16())))
