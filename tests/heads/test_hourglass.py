from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from visiontasks.heads import HourglassHead
from visiontasks.heads.hourglass import Hourglass, Residual


def random_scores(head: HourglassHead) -> HourglassHead:
    for layer in head.scores:
        nn.init.normal_(layer.weight)
    return head


@pytest.mark.parametrize("num_stacks", [1, 3])
def test_each_stack_gives_a_prediction(num_stacks: int, resnet: Any) -> None:
    head = HourglassHead(resnet.channels, resnet.reductions, 3, num_stacks=num_stacks, stack_width=16)
    predictions = random_scores(head).forward_all(resnet.features[97, 65], (97, 65))
    assert [logits.shape for logits in predictions] == [(2, 3, 97, 65)] * num_stacks


def test_loss_of_the_first_prediction_trains_the_first_stack_only(resnet: Any) -> None:
    head = random_scores(HourglassHead(resnet.channels, resnet.reductions, 3, stack_width=16))
    head.forward_all(resnet.features[64, 64], (64, 64))[0].square().sum().backward()
    assert all(p.grad is not None for p in head.hourglasses[0].parameters())
    assert all(p.grad is None for p in head.hourglasses[1].parameters())


def test_second_stack_depends_on_the_first_prediction(resnet: Any) -> None:
    head = random_scores(HourglassHead(resnet.channels, resnet.reductions, 3, stack_width=16)).eval()
    features = resnet.features[64, 64]
    before = head(features, (64, 64))
    nn.init.zeros_(head.merge_logits[0].weight)
    assert not torch.equal(head(features, (64, 64)), before)


@pytest.mark.parametrize(
    ("reductions", "expected"), [([2, 4, 8], 1), ([1, 2, 4], 2), ([1, 2], 1), ([8, 16], 0), ([4, 8], 0)]
)
def test_works_at_stride_4_or_as_near_as_there_is(reductions: list[int], expected: int) -> None:
    assert HourglassHead([8] * len(reductions), reductions, 3, stack_width=8).working_index == expected


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (16, 16)])
def test_hourglass_keeps_any_size(size: tuple[int, int]) -> None:
    assert Hourglass(8, depth=4)(torch.randn(1, 8, *size)).shape == (1, 8, *size)


def test_hourglass_without_residuals_adds_the_pooled_pyramid() -> None:
    hourglass = Hourglass(2, depth=1).eval()
    for module in hourglass.modules():
        if isinstance(module, Residual):
            nn.init.zeros_(module.layers[-1].weight)
    x = torch.randn(1, 2, 4, 4)
    expected = x + F.max_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(hourglass(x), expected)
