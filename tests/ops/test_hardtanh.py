"""ReLU6 that stores its output has torch's outputs and gradients, and stores nothing else."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.ops.quick_gradients import QuickGradients

NAN, INF = float("nan"), float("inf")


def gradients(context: Any, image: Tensor, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Output, and gradient of the input where that of the outputs is 1, 2, 3, ..."""
    leaf = image.clone().requires_grad_()
    with context:
        out = function(leaf * 1)
    out.backward(torch.arange(1, out.numel() + 1, dtype=out.dtype).reshape(out.shape))
    assert leaf.grad is not None
    return out.detach(), leaf.grad


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_and_gradients_are_torchs(dtype: torch.dtype, inplace: bool) -> None:
    values = [-INF, -1.0, -1e-30, -0.0, 0.0, 1e-30, 3.0, 5.96, 6.0, 6.04, 7.0, INF]
    image = torch.tensor(values, dtype=dtype)
    relu6 = nn.ReLU6(inplace=inplace)
    found, expected = (gradients(context, image, relu6) for context in (QuickGradients(), nullcontext()))
    for ours, torchs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=0)
    assert found[1].tolist() == [0, 0, 0, 0, 0, 6, 7, 8, 0, 0, 0, 0]


def test_nan_stays_nan() -> None:
    found, expected = (
        gradients(context, torch.tensor([NAN, 2.0]), nn.ReLU6()) for context in (QuickGradients(), nullcontext())
    )
    for ours, torchs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=0, equal_nan=True)


def test_other_bounds_and_keywords_are_torchs() -> None:
    image = torch.tensor([-2.0, -0.5, 0.5, 2.0])
    for function in (F.hardtanh, lambda value: F.hardtanh(value, max_val=0.25, min_val=-3.0)):
        found, expected = (gradients(context, image, function) for context in (QuickGradients(), nullcontext()))
        assert [part.tolist() for part in found] == [part.tolist() for part in expected]


@pytest.mark.parametrize(("context", "stored"), [(QuickGradients(), 2), (nullcontext(), 3)])
def test_convolutions_and_activations_share_what_they_store(context: Any, stored: int) -> None:
    """Of a convolution, its BatchNorm and ReLU6 before another convolution torch stores three maps, of which one is a
    copy; the first image is no map."""
    layers = [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU6(inplace=True), nn.Conv2d(4, 5, 1)]
    maps: set[int] = set()

    def noted(value: Tensor) -> Tensor:
        if value.shape == (2, 4, 6, 6):
            maps.add(value.data_ptr())
        return value

    with torch.autograd.graph.saved_tensors_hooks(noted, lambda value: value), context:
        nn.Sequential(*layers).eval()(torch.ones(2, 3, 6, 6))
    assert len(maps) == stored


def test_without_a_gradient_nothing_is_replaced() -> None:
    with QuickGradients():
        assert nn.ReLU6()(torch.ones(2)).grad_fn is None
