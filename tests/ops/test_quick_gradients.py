"""The quicker way of a layer gives the same values; of depthwise convolutions see test_depthwise.py."""

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from visiontasks.ops.quick_gradients import NEED_THEIR_INPUT, QuickGradients

IN_PLACE = (
    "relu",
    "hardtanh",
    "elu",
    "selu",
    "celu",
    "leaky_relu",
    *sorted(each.__name__ for each in NEED_THEIR_INPUT),
)


def output_and_gradient(function: Any) -> tuple[Tensor, Tensor, int]:
    """Of 101 numbers from -8 to 8, in place; and how many copies were made."""
    leaf = torch.linspace(-8, 8, 101, requires_grad=True)
    image = leaf * 1
    options = (0.1, 0.0) if function is F.threshold else ()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        out = function(image, *options, inplace=True)
    out.backward(torch.linspace(1, 2, 101))
    assert leaf.grad is not None
    copies = sum(event.count for event in profiler.key_averages() if event.key == "aten::clone")
    return out.detach(), leaf.grad, copies


@pytest.mark.parametrize("name", IN_PLACE)
def test_no_activation_makes_a_copy_and_each_gives_the_same_bits(name: str) -> None:
    function = getattr(F, name)
    expected, expected_gradient, _ = output_and_gradient(function)
    with QuickGradients():
        found, gradient, copies = output_and_gradient(function)
    assert copies == 0
    assert found.equal(expected)
    assert gradient.equal(expected_gradient)


@pytest.mark.parametrize("module", [nn.Mish(inplace=True), nn.SiLU(inplace=True), nn.Hardswish(inplace=True)], ids=str)
def test_behind_frozen_layers_and_without_gradients_an_activation_works_in_place(module: nn.Module) -> None:
    frozen, trained = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True) * 1
    with QuickGradients():
        assert module(frozen).data_ptr() == frozen.data_ptr()
        assert module(trained).data_ptr() != trained.data_ptr()
        with torch.no_grad():
            assert module(trained).data_ptr() == trained.data_ptr()


@pytest.mark.parametrize("name", ["test_efficientnet", "mobilenetv3_small_050", "test_mambaout", "resnet18"])
def test_networks_have_the_same_gradients_to_the_last_bit(name: str) -> None:
    network = timm.create_model(name, pretrained=False, num_classes=2).to(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)

    def gradients() -> list[Tensor]:
        network.zero_grad()
        torch.manual_seed(0)
        network.eval()(image).square().sum().backward()
        return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    expected = gradients()
    with QuickGradients():
        found = gradients()
    assert len(found) == len(expected) > 20
    assert all(a.equal(b) for a, b in zip(found, expected, strict=True))
