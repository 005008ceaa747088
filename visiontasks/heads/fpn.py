"""Feature pyramid: maps of one width at several strides, each of which has seen the coarser ones.

Feature Pyramid Networks for Object Detection. Tsung-Yi Lin et al., 2017. https://arxiv.org/abs/1612.03144
Simple pyramid of one map: Exploring Plain Vision Transformer Backbones for Object Detection. Yanghao Li et al., 2022.
https://arxiv.org/abs/2203.16527

Deviations: a coarser map is brought to the actual size of the finer one, not doubled, so that any image size works. The
3x3 convolutions are depthwise separable where `separable` is set. The simple pyramid interpolates the map instead of
deconvolving it.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.heads.dense import BatchNorm, repeat_to, size_of

FINEST, COARSEST = 8, 64
"""Strides of the levels in pixels, where the backbone has them."""


class FeaturePyramid(nn.Module):
    """Maps a backbone's pyramid to levels of one width.

    Args:
        channels: Channels of each map, finest first: `feature_info.channels()`.
        reductions: Stride of each map, in the same order: `feature_info.reduction()`.
        width: Channels of every level.
        finest: Smallest stride of a level; where the backbone has no such map, its finest.
        coarsest: Largest stride; missing levels are made from the coarsest map, each half as large as the one before.
        separable: Depthwise separable 3x3 convolutions in place of full ones.

    Attributes:
        maps: Which of the backbone's maps it takes: the deepest one of each stride within the limits.
        strides: Of the levels in pixels, finest first.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        *,
        width: int,
        finest: int = FINEST,
        coarsest: int = COARSEST,
        separable: bool = True,
    ) -> None:
        super().__init__()
        self.is_of_one_map = len(channels) > 1 and len(set(reductions)) == 1
        self.maps = _taken(reductions, finest, coarsest)
        own = [reductions[i] for i in self.maps]
        if self.is_of_one_map:
            own = [stride for stride in (own[0] // 2, own[0], own[0] * 2) if stride >= min(finest, own[0])]
        self.strides = list(own)
        while self.strides[-1] * 2 <= coarsest:
            self.strides.append(self.strides[-1] * 2)
        inputs = [channels[self.maps[0]]] * len(own) if self.is_of_one_map else [channels[i] for i in self.maps]
        self.own_strides = own
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1) for each in inputs)
        self.smooth = nn.ModuleList(block(width, separable=separable) for _ in own)
        self.extra = nn.ModuleList(block(width, separable=separable, stride=2) for _ in self.strides[len(own) :])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map those of the backbone's maps that `maps` names to levels (B, width, h, w), finest first."""
        found = [lateral(each) for lateral, each in zip(self.lateral, self._inputs(features), strict=True)]
        for finer, coarser in zip(range(len(found) - 2, -1, -1), range(len(found) - 1, 0, -1), strict=True):
            found[finer] = found[finer] + repeat_to(found[coarser], size_of(found[finer]))
        levels = [smooth(each) for smooth, each in zip(self.smooth, found, strict=True)]
        for extra in self.extra:
            levels.append(extra(levels[-1]))
        return levels

    def _inputs(self, features: Sequence[Tensor]) -> list[Tensor]:
        if not self.is_of_one_map:
            return list(features)
        (last,), stride = features, self.own_strides
        own = stride[0] * 2 if len(stride) == 3 else stride[0]
        return [_scaled(last, own, each) for each in stride]


def block(width: int, *, separable: bool, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution from `width` to `width` channels, batch normalization, ReLU."""
    if not separable:
        first = [nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)]
    else:
        first = [
            nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
        ]
    return nn.Sequential(*first, BatchNorm(width), nn.ReLU(inplace=True))


def _taken(reductions: Sequence[int], finest: int, coarsest: int) -> list[int]:
    """Indices of the maps that become levels: the deepest map of each stride within the limits."""
    last = {stride: i for i, stride in enumerate(reductions)}
    within = [i for stride, i in last.items() if finest <= stride <= coarsest]
    return sorted(within) if within else [len(reductions) - 1]


def _scaled(x: Tensor, stride: int, wanted: int) -> Tensor:
    """A map of one stride at another, double or half of it."""
    if wanted == stride:
        return x
    if wanted < stride:
        return F.interpolate(x, scale_factor=stride / wanted, mode="bilinear", align_corners=False)
    return F.max_pool2d(x, wanted // stride, ceil_mode=True)
