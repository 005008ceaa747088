"""Networks that several test modules use, built once."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import timm
import torch
from torch import nn

import visiontasks.backbones


def parameter_count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.fixture
def count() -> Callable[..., int]:
    """Number of parameters of a timm network, without making any of them."""

    def count_of(name: str, **model_args: Any) -> int:
        with torch.device("meta"):
            return parameter_count(timm.create_model(name, **model_args))

    return count_of


@pytest.fixture(scope="module")
def built() -> Callable[[str], nn.Module]:
    """`built(name)`: the network with random weights in eval mode, one for all tests of a module."""

    @cache
    def build(name: str) -> nn.Module:
        torch.manual_seed(0)
        return timm.create_model(name).eval()

    return build


assert visiontasks.backbones  # registers the networks
