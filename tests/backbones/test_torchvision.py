"""Networks that timm has itself, against torchvision's: the same parameters, the same outputs."""

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision


@pytest.mark.parametrize(("name", "parameters"), [("vgg16", 138_357_544), ("resnet50", 25_557_032)])
def test_parameters_are_those_of_the_paper(name: str, parameters: int, count: Callable[..., int]) -> None:
    assert count(name) == parameters


@pytest.mark.parametrize(("name", "size"), [("resnet50", 64), pytest.param("vgg16", 224, marks=pytest.mark.slow)])
def test_outputs_are_torchvisions_with_torchvisions_weights(name: str, size: int) -> None:
    reference = torchvision.models.get_model(name).eval()
    overlay = {"state_dict": reference.state_dict()}
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    image = torch.randn(1, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(model(image), reference(image), atol=1e-5, rtol=1e-5)
