"""Gradients of depthwise convolutions, worked out by hand and beside torch's own in float64."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.library_internals import cpu_has_bfloat16
from visiontasks.ops import depthwise
from visiontasks.ops.depthwise import image_gradient, weight_gradient
from visiontasks.ops.quick_gradients import QuickGradients

OURS = "_DepthwiseBackward"
CASES = {  # channels, height, width, kernel, stride, padding
    "stride 2": (8, 13, 16, (3, 3), 2, 0),
    "stride 2, padded": (8, 12, 15, (3, 3), 2, 1),
    "stride 2, even kernel": (4, 6, 9, (2, 2), 2, 0),
    "stride 3, widest padding": (5, 9, 12, (3, 3), 3, 2),
    "5x5": (6, 11, 14, (5, 5), 1, 2),
    "5x5, stride 2": (6, 15, 18, (5, 5), 2, 2),
    "7x7": (6, 14, 17, (7, 7), 1, 3),
    "oblong": (4, 7, 10, (3, 5), (2, 1), (1, 2)),
    "rows that the stride leaves over": (4, 8, 8, (3, 3), 3, 0),
}


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which backward pass is taken is tested as on a processor that computes in bfloat16, whatever this one is."""
    monkeypatch.setattr(depthwise, "cpu_has_bfloat16", lambda: True)


def gradients(case: Any, dtype: torch.dtype) -> list[Tensor]:
    """Output and gradients of image, weight and bias, of the same bfloat16 numbers."""
    channels, height, width, kernel, stride, padding = case
    random = torch.Generator().manual_seed(0)
    shapes = (2, channels, height, width), (channels, 1, *kernel), (channels,)
    given = [torch.randn(shape, generator=random).bfloat16().to(dtype).requires_grad_() for shape in shapes]
    out = F.conv2d(*given, stride, padding, groups=channels)
    out.backward(torch.randn(out.shape, generator=random).bfloat16().to(dtype))
    return [out.detach(), *(tensor.grad for tensor in given if tensor.grad is not None)]


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="without AVX512_BF16 torch rounds sums to bfloat16 on the way")
@pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))
def test_gradients_are_those_of_float64_but_for_the_rounding_to_bfloat16(case: Any) -> None:
    with QuickGradients():
        ours = gradients(case, torch.bfloat16)
    exact = gradients(case, torch.float64)
    assert len(ours) == len(exact) == 4
    for found, expected in zip(ours, exact, strict=True):
        assert found.dtype == torch.bfloat16
        assert found.shape == expected.shape
        # half a unit in the last of bfloat16's 8 bits, and what float32 loses in sums that cancel
        torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=1e-4)


def test_two_pixels_apart_each_gradient_falls_on_its_own_block() -> None:
    # out = sum of each 2x2 block: the gradient of a pixel is weight times the gradient of its block
    weight = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    gradient = torch.tensor([[[[10.0, 1.0]]]])
    found = image_gradient(gradient, weight, (2, 5), (2, 2), (0, 0))
    assert found.tolist() == [[[[10.0, 20.0, 1.0, 2.0, 0.0], [30.0, 40.0, 3.0, 4.0, 0.0]]]]


def test_a_weight_has_the_sum_of_what_it_multiplied() -> None:
    image = torch.tensor([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]])
    gradient = torch.tensor([[[[10.0, 1.0]]]])
    found = weight_gradient(gradient, image, torch.zeros(1, 1, 1, 3), (1, 2), (0, 0))
    assert found.tolist() == [[[[10 * 1 + 1 * 3, 10 * 2 + 1 * 4, 10 * 3 + 1 * 5]]]]


def graph_of(layer: nn.Conv2d, image: Tensor, *, autocast: bool = True) -> str:
    with QuickGradients(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        return type(layer(image).grad_fn).__name__


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 1), (5, 2), (7, 1), (2, 2)])
def test_what_torch_is_slow_at_is_replaced(kernel: int, stride: int) -> None:
    layer = nn.Conv2d(4, 4, kernel, stride=stride, groups=4)
    assert graph_of(layer, torch.randn(1, 4, 9, 9)) == OURS
    assert graph_of(layer.bfloat16(), torch.randn(1, 4, 9, 9).bfloat16(), autocast=False) == OURS


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=4),  # quick in torch
        nn.Conv2d(4, 4, 1, groups=4),
        nn.Conv2d(4, 8, 3, stride=2, groups=4),  # two filters a channel
        nn.Conv2d(4, 4, 3, stride=2, groups=2),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(4, 4, 3, stride=2, groups=4, dilation=2),
        nn.Conv2d(4, 4, 3, stride=2, padding=3, groups=4),  # more than its kernel reaches
        nn.Conv2d(4, 4, 5, padding="same", groups=4),
    ],
    ids=str,
)
def test_everything_else_is_left_to_torch(layer: nn.Conv2d) -> None:
    assert graph_of(layer, torch.randn(1, 4, 9, 9)) != OURS


def test_without_bfloat16_in_the_processor_all_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, "cpu_has_bfloat16", lambda: False)
    layer, image = nn.Conv2d(4, 4, 3, stride=2, groups=4), torch.randn(1, 4, 9, 9)
    assert graph_of(layer, image) != OURS
    assert graph_of(layer.bfloat16(), image.bfloat16(), autocast=False) != OURS


def test_float32_and_passes_without_gradients_are_left_to_torch() -> None:
    layer, image = nn.Conv2d(4, 4, 3, stride=2, groups=4), torch.randn(1, 4, 9, 9)
    assert graph_of(layer, image, autocast=False) != OURS
    with torch.no_grad():
        assert graph_of(layer, image) == "NoneType"
    assert graph_of(layer.requires_grad_(False), image) == "NoneType"


def test_under_autocast_parameters_get_gradients_of_their_own_type() -> None:
    layer, image = nn.Conv2d(4, 4, 3, stride=2, groups=4), torch.randn(1, 4, 9, 9, requires_grad=True)
    with QuickGradients(), torch.autocast("cpu", torch.bfloat16):
        out = layer(image)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert {tensor.grad.dtype for tensor in (image, layer.weight, layer.bias) if tensor.grad is not None} == {
        torch.float32
    }
    assert layer.bias is not None
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [16.0] * 4  # 4x4 pixels of gradient 1


def test_only_what_needs_a_gradient_gets_one() -> None:
    layer = nn.Conv2d(4, 4, 3, stride=2, groups=4)
    layer.weight.requires_grad_(False)
    image = torch.randn(1, 4, 9, 9, requires_grad=True)
    with QuickGradients(), torch.autocast("cpu", torch.bfloat16):
        layer(image).float().sum().backward()
    assert layer.weight.grad is None
    assert image.grad is not None
