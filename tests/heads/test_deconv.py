from typing import Any

import pytest
import torch
import torch.nn.functional as F

from visiontasks.heads import DeconvHead
from visiontasks.heads.deconv import unpool


def test_values_go_to_the_strongest_pixel_of_their_window() -> None:
    finer = torch.tensor([[0.0, 1, 5, 0], [2, 0, 0, 0]]).view(1, 1, 2, 4)
    x = torch.tensor([7.0, 8]).view(1, 1, 1, 2)
    assert unpool(x, finer, 2).view(2, 4).tolist() == [[0, 0, 8, 0], [7, 0, 0, 0]]


def test_strided_backbones_round_up() -> None:
    finer = torch.tensor([0.0, 1, 3, 2, -1]).view(1, 1, 1, 5)
    x = torch.tensor([7.0, 8, 9]).view(1, 1, 1, 3)
    assert unpool(x, finer.expand(1, 1, 2, 5).contiguous(), 2)[0, 0, 0].tolist() == [0, 7, 8, 0, 9]


def test_pooling_that_rounds_down_leaves_the_rest_empty() -> None:
    finer = torch.tensor([0.0, 1, 3, 2, 9]).view(1, 1, 1, 5).expand(1, 1, 2, 5).contiguous()
    x = torch.tensor([7.0, 8]).view(1, 1, 1, 2)
    assert unpool(x, finer, 2)[0, 0, 0].tolist() == [0, 7, 8, 0, 0]


@pytest.mark.parametrize("size", [(97, 65), (64, 64)])
def test_switches_are_those_of_vggs_own_pooling(vgg: Any, size: tuple[int, int]) -> None:
    finer, deepest = vgg.features[size][-2:]
    pooled, switches = F.max_pool2d(finer, 2, 2, return_indices=True)
    assert torch.equal(pooled, deepest)
    expected = F.max_unpool2d(pooled, switches, 2, output_size=finer.shape[-2:])
    assert torch.equal(unpool(deepest, finer, 2), expected)


def test_gradient_goes_through_the_values_and_not_through_the_switches() -> None:
    finer, x = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(1, 2, 2, 2, requires_grad=True)
    unpool(x, finer, 2).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))
    assert finer.grad is None


def test_maps_of_one_stride_are_not_unpooled() -> None:
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(unpool(x, torch.randn(1, 2, 3, 3), 1), x)


@pytest.mark.parametrize("depth", [1, 3])
def test_levels_mirror_the_backbones_channels(depth: int) -> None:
    head = DeconvHead([4, 6, 8], [2, 4, 8], 3, layers_per_level=depth)
    for level, (deep, fine) in zip([*head.levels, head.last], [(8, 6), (6, 4), (4, 4)], strict=True):
        assert [(layer[0].in_channels, layer[0].out_channels) for layer in level] == [(deep, deep)] * (depth - 1) + [
            (deep, fine)
        ]
