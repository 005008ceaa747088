from math import log
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from visiontasks.errors import InputError
from visiontasks.heads import FCNHead
from visiontasks.heads.fcn import bilinear_transposed_conv

CHANNELS, REDUCTIONS = [4, 5, 6, 7, 8], [2, 4, 8, 16, 32]


@pytest.mark.parametrize(("stride", "scored"), [(32, [8]), (16, [8, 7]), (8, [8, 7, 6]), (4, [8, 7, 6, 5])])
def test_maps_down_to_the_stride_are_scored(stride: int, scored: list[int]) -> None:
    head = FCNHead(CHANNELS, REDUCTIONS, 3, stride=stride)
    assert [layer.in_channels for layer in head.scores] == scored


@pytest.mark.parametrize("hidden_channels", [0, 8])
def test_first_cross_entropy_is_ln_k(hidden_channels: int, mobilenet: Any) -> None:
    head = FCNHead(mobilenet.channels, mobilenet.reductions, 3, hidden_channels=hidden_channels)
    logits = head(mobilenet.features[97, 65], (97, 65))
    assert F.cross_entropy(logits, torch.randint(3, (2, 97, 65))).item() == pytest.approx(log(3))


@pytest.mark.parametrize(("stride", "kernels"), [(32, [64]), (16, [4, 32]), (8, [4, 4, 16])])
def test_learned_upsampling_has_the_papers_kernels(stride: int, kernels: list[int]) -> None:
    head = FCNHead(CHANNELS, REDUCTIONS, 3, stride=stride, upsampling="learned")
    assert [layer.kernel_size[0] for layer in head.upsamplings] == kernels


def test_bilinear_upsampling_has_no_weights() -> None:
    head = FCNHead(CHANNELS, REDUCTIONS, 3, upsampling="bilinear")
    assert not list(head.upsamplings.parameters())


def test_scores_of_all_maps_are_added_at_their_places() -> None:
    head = FCNHead([1, 1], [8, 16], 1, stride=8, upsampling="bilinear")
    for layer in head.scores:
        torch.nn.init.ones_(layer.weight)
    fine, deep = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.0, 4], [0, 4]]).view(1, 1, 2, 2)
    expected = fine + torch.tensor([0.0, 1, 3, 4])
    assert torch.equal(head([fine, deep], (4, 4)), expected)


@pytest.mark.parametrize("factor", [2, 3, 4, 32])
def test_transposed_convolution_starts_as_bilinear_interpolation(factor: int) -> None:
    x = torch.randn(1, 3, 4, 5)
    ours = bilinear_transposed_conv(3, factor)(x)
    theirs = F.interpolate(x, scale_factor=factor, mode="bilinear")
    assert ours.shape == theirs.shape
    inside = slice(factor, -factor)
    torch.testing.assert_close(ours[..., inside, inside], theirs[..., inside, inside])


def test_transposed_convolution_by_one_changes_nothing() -> None:
    x = torch.randn(1, 3, 4, 5)
    assert torch.equal(bilinear_transposed_conv(3, 1)(x), x)


def test_only_the_deepest_of_maps_of_one_stride_is_scored() -> None:
    head = FCNHead([4, 5, 6], [8, 16, 16], 3, stride=8)
    assert head.indices == [2, 0]


def test_hidden_layers_are_as_fc6_and_fc7(vgg: Any) -> None:
    head = FCNHead(vgg.channels, vgg.reductions, 3, stride=16, hidden_channels=64)
    assert head.hidden[0].weight.shape == (64, 512, 7, 7)
    assert head.hidden[3].weight.shape == (64, 64, 1, 1)
    assert [layer.in_channels for layer in head.scores] == [64, 512]
    assert head(vgg.features[97, 65], (97, 65)).shape == (2, 3, 97, 65)


def test_stride_that_no_map_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"stride is 8, .* strides 1, 2, 4: set model.init_args.head.init_args.stride"):
        FCNHead([16, 32, 64], [1, 2, 4], 3)
