import pytest
import torch
from torch import Tensor

from tests.heads.conftest import Pyramid
from visiontasks.heads.fpn import FeaturePyramid


def taken(fpn: FeaturePyramid, features: list[Tensor]) -> list[Tensor]:
    return [features[i] for i in fpn.maps]


def test_levels_have_the_sizes_of_their_strides_whatever_the_network(any_pyramid: Pyramid) -> None:
    fpn = FeaturePyramid(any_pyramid.channels, any_pyramid.reductions, width=7)
    assert fpn.strides == [8, 16, 32, 64]
    for features in any_pyramid.features.values():
        maps = taken(fpn, features)
        levels = fpn(maps)
        own = [x.shape[-2:] for x in maps]
        assert [x.shape[-2:] for x in levels[: len(own)]] == own  # the actual ones, which differ without padding
        assert all(x.shape[:2] == (2, 7) for x in levels)
        assert levels[-1].shape[-1] == -(-levels[-2].shape[-1] // 2)


def test_a_network_without_coarse_maps_gets_them_and_one_without_fine_maps_begins_later() -> None:
    assert FeaturePyramid([3], [16], width=4).strides == [16, 32, 64]
    fpn = FeaturePyramid([3, 3, 3, 3], [4, 8, 32, 128], width=4)
    assert (fpn.maps, fpn.strides) == ([1, 2], [8, 32, 64])


def test_of_maps_with_one_stride_the_deepest_is_taken() -> None:
    assert FeaturePyramid([3, 4, 5, 6], [8, 16, 16, 32], width=4).maps == [0, 2, 3]


def test_a_vision_transformer_of_one_stride_gets_three_levels_of_its_last_map() -> None:
    fpn = FeaturePyramid([6, 6, 6], [16, 16, 16], width=4)
    assert (fpn.maps, fpn.strides) == ([2], [8, 16, 32, 64])
    assert [tuple(x.shape[-2:]) for x in fpn([torch.rand(1, 6, 5, 3)])] == [(10, 6), (5, 3), (3, 2), (2, 1)]


def test_coarse_maps_reach_fine_levels_and_not_the_other_way() -> None:
    fpn = FeaturePyramid([2, 2], [8, 16], width=2, coarsest=16, separable=False).eval()
    fine, coarse = torch.rand(1, 2, 5, 3), torch.rand(1, 2, 3, 2)
    first = fpn([fine, coarse])
    assert torch.equal(fpn([torch.rand(1, 2, 5, 3), coarse])[1], first[1])
    assert not torch.equal(fpn([fine, torch.rand(1, 2, 3, 2)])[0], first[0])


def test_the_upsampled_map_is_added() -> None:
    fpn = FeaturePyramid([1, 1], [8, 16], width=1, coarsest=16)
    fpn.smooth = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    for lateral, factor in zip(fpn.lateral, (1.0, 10.0), strict=True):
        torch.nn.init.constant_(lateral.weight, factor)
        torch.nn.init.zeros_(lateral.bias)
    fine, coarse = fpn([torch.arange(6.0).view(1, 1, 2, 3), torch.tensor([[[[1.0, 2.0]]]])])
    assert coarse.flatten().tolist() == [10, 20]
    assert fine[0, 0].tolist() == [[10, 11, 22], [13, 14, 25]]  # two columns repeated to three: 0 0 1


@pytest.mark.parametrize("separable", [True, False])
def test_a_single_image_of_one_cell_trains(separable: bool) -> None:
    fpn = FeaturePyramid([3], [64], width=4, separable=separable).train()
    (level,) = fpn([torch.rand(1, 3, 1, 1)])
    level.sum().backward()
    assert all(p.grad is not None for p in fpn.parameters())
