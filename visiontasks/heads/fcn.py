"""FCN-32s, FCN-16s and FCN-8s.

Fully Convolutional Networks for Semantic Segmentation. Jonathan Long, Evan Shelhamer, Trevor Darrell, 2015.
https://arxiv.org/abs/1411.4038

Deviations: the skips are the backbone's last maps of each stride, where the paper takes the first (VGG's pool4 and
pool3). VGG's fc6 and fc7 are not part of a pyramid: `hidden_channels` puts untrained ones in their place. Convolutions
are padded and maps resized to each other, where the paper pads the image by 100 pixels and crops. "learned" also learns
the last upsampling, which the paper fixes to bilinear.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.heads.dense import DenseHead, Size, resize, size_of


class FCNHead(DenseHead):
    """Scores the deepest map, then adds the scores of finer maps down to a stride, upsampling in between.

    Args:
        channels: See DenseHead.
        reductions: See DenseHead.
        num_classes: K.
        stride: Stride of the finest map that is scored: 32, 16 and 8 give the paper's FCN-32s, FCN-16s and FCN-8s.
        upsampling: "learned" is a transposed convolution that starts as bilinear interpolation, "bilinear" stays so.
        hidden_channels: Width of a 7x7 and a 1x1 convolution, each with ReLU and dropout, before the deepest map is
            scored (the paper's fc6 and fc7 have 4096); 0 for none, as the paper does with GoogLeNet.

    Raises:
        InputError: If no map has this stride, or hidden_channels is below 0.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int,
        *,
        stride: int = 8,
        upsampling: Literal["learned", "bilinear"] = "learned",
        hidden_channels: int = 0,
    ) -> None:
        super().__init__(channels, reductions)
        if stride not in reductions:
            raise InputError(
                f"the head's stride is {stride}, but the backbone's maps have the strides "
                f"{', '.join(map(str, reductions))}: set model.init_args.head.init_args.stride to one of them"
            )
        if hidden_channels < 0:
            raise InputError(
                f"model.init_args.head.init_args.hidden_channels must be at least 0, got {hidden_channels}"
            )
        deepest_of = {reduction: i for i, reduction in enumerate(reductions)}
        strides = sorted((reduction for reduction in deepest_of if reduction >= stride), reverse=True)
        self.indices = [deepest_of[reduction] for reduction in strides]
        widths = [channels[i] for i in self.indices]
        self.hidden = _fully_connected(widths[0], hidden_channels) if hidden_channels else nn.Identity()
        widths[0] = hidden_channels or widths[0]
        self.scores = nn.ModuleList(_zero_conv(width, num_classes) for width in widths)
        self.upsamplings = nn.ModuleList(
            bilinear_transposed_conv(num_classes, coarse // fine) if upsampling == "learned" else nn.Identity()
            for coarse, fine in pairwise([*strides, 1])
        )

    def forward(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """See DenseHead."""
        maps = [features[i] for i in self.indices]
        logits: Tensor = self.scores[0](self.hidden(maps[0]))
        for upsample, score, finer in zip(self.upsamplings, self.scores[1:], maps[1:], strict=False):
            logits = resize(upsample(logits), size_of(finer)) + score(finer)
        return resize(self.upsamplings[-1](logits), size)


def bilinear_transposed_conv(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Transposed convolution (B, C, h, w) -> (B, C, factor h, factor w) that starts as bilinear interpolation.

    It equals `F.interpolate` except within one input pixel of the border, where it takes zeros from beyond.
    """
    kernel_size = 2 * factor - factor % 2
    layer = nn.ConvTranspose2d(channels, channels, kernel_size, stride=factor, padding=factor // 2, bias=False)
    position = torch.arange(kernel_size) - (kernel_size - 1) / 2
    triangle = 1 - position.abs() / factor
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * triangle[:, None] * triangle)
    return layer


def _zero_conv(in_channels: int, num_classes: int) -> nn.Conv2d:
    """1x1 convolution to scores that starts at zero, as in the paper: the first cross entropy is ln K."""
    layer = nn.Conv2d(in_channels, num_classes, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _fully_connected(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 7, padding=3),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Conv2d(width, width, 1),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
    )
