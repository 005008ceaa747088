"""Feature maps of real pyramids, computed once, and what every dense head is tested on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor

from visiontasks.backbones import create_pyramid


@dataclass(frozen=True)
class Pyramid:
    """Channels, reductions and maps of a random backbone for one or two images.

    Attributes:
        channels: Of each map, finest first.
        reductions: Of each map.
        features: By image size, for a batch of two.
    """

    channels: list[int]
    reductions: list[int]
    features: dict[tuple[int, int], list[Tensor]]


# alexnet's smallest image is 67 x 67, alexnet_tv's 63 x 63
SIZES = {"alexnet": [(99, 67), (68, 68)]}
DEFAULT_SIZES = [(97, 65), (64, 64)]


@pytest.fixture(scope="session")
def pyramid() -> Callable[[str], Pyramid]:
    """`pyramid("resnet18")`: maps of two images at an odd and at an even size, with random weights."""

    @cache
    def build(name: str) -> Pyramid:
        torch.manual_seed(0)
        backbone = create_pyramid(name, weights="none").eval()
        with torch.no_grad():
            features = {size: backbone(torch.randn(2, 3, *size)) for size in SIZES.get(name, DEFAULT_SIZES)}
        return Pyramid(backbone.feature_info.channels(), backbone.feature_info.reduction(), features)

    return build


@pytest.fixture(params=["resnet18", "vgg11", "googlenet", "alexnet", "alexnet_tv", "mobilenetv2_100"])
def any_pyramid(request: pytest.FixtureRequest, pyramid: Callable[[str], Pyramid]) -> Pyramid:
    return pyramid(request.param)


@pytest.fixture
def resnet(pyramid: Callable[[str], Pyramid]) -> Pyramid:
    return pyramid("resnet18")


@pytest.fixture
def vgg(pyramid: Callable[[str], Pyramid]) -> Pyramid:
    return pyramid("vgg11")


@pytest.fixture
def mobilenet(pyramid: Callable[[str], Pyramid]) -> Pyramid:
    return pyramid("mobilenetv2_100")
