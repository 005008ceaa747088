"""The deconvolution network.

Learning Deconvolution Network for Semantic Segmentation. Hyeonwoo Noh, Seunghoon Hong, Bohyung Han, 2015.
https://arxiv.org/abs/1505.04366

Unpooling needs the switches: which pixel of each window the backbone's max pooling took. A pyramid does not return
them, but it has the map that was pooled, so pooling that map again finds them. For VGG at every size these are
exactly the network's own switches. Backbones that downsample by strides or by overlapping windows have no such
switches; there the switch is the pixel at which the finer map is strongest in each window and channel.

Deviations: any backbone, without VGG's fc6 and fc7 and the 7x7 deconvolution that mirrors fc6. The same number of
deconvolutions at each level. Above the finest map, whose pooling is unknown, logits are interpolated. Trained on whole
images, not on object proposals in two stages.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.heads.dense import BatchNorm, DenseHead, Size, check_positive, repeat_to, resize, size_of


class DeconvHead(DenseHead):
    """Goes from the deepest map to the finest: transposed convolutions, then unpooling with the backbone's switches.

    Each level has the channels of the backbone's map, as the paper's network mirrors VGG.

    Args:
        channels: See DenseHead.
        reductions: See DenseHead.
        num_classes: K.
        layers_per_level: Transposed 3x3 convolutions, at least 1; the paper has 2 and 3.

    Raises:
        InputError: If layers_per_level is below 1.
    """

    def __init__(
        self, channels: Sequence[int], reductions: Sequence[int], num_classes: int, *, layers_per_level: int = 2
    ) -> None:
        super().__init__(channels, reductions)
        check_positive(layers_per_level=layers_per_level)
        deep_to_fine = [*reversed(channels)]
        self.levels = nn.ModuleList(_level(deep, fine, layers_per_level) for deep, fine in pairwise(deep_to_fine))
        self.steps = [deep // fine for deep, fine in pairwise(reversed(reductions))]
        self.last = _level(channels[0], channels[0], layers_per_level)
        self.score = nn.Conv2d(channels[0], num_classes, 1)

    def forward(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """See DenseHead."""
        *finer, x = features
        for level, step, unpooled in zip(self.levels, self.steps, reversed(finer), strict=True):
            x = unpool(level(x), unpooled, step)
        return resize(self.score(self.last(x)), size)


def unpool(x: Tensor, finer: Tensor, step: int) -> Tensor:
    """Put each value of a map where the finer map is largest in the window that the value came from.

    Args:
        x: Pooled map, (B, C, h, w).
        finer: The map before pooling, (B, C, H, W).
        step: Side and stride of the windows, about H / h.

    Returns:
        (B, C, H, W), zero but for one pixel per window.
    """
    if step == 1:
        return repeat_to(x, size_of(finer))
    # Strided convolutions round the size up, VGG's pooling rounds it down.
    rounds_up = finer.shape[-2] < step * x.shape[-2] or finer.shape[-1] < step * x.shape[-1]
    pooled, switches = F.max_pool2d(finer.detach(), step, ceil_mode=rounds_up, return_indices=True)
    x = repeat_to(x, size_of(pooled))
    sparse = x.new_zeros(x.shape[0], x.shape[1], finer.shape[-2] * finer.shape[-1])
    return sparse.scatter(2, switches.flatten(2), x.flatten(2)).view(finer.shape)


def _level(in_channels: int, out_channels: int, num_layers: int) -> nn.Sequential:
    widths = [in_channels] * num_layers + [out_channels]
    return nn.Sequential(
        *(
            nn.Sequential(nn.ConvTranspose2d(a, b, 3, padding=1, bias=False), BatchNorm(b), nn.ReLU(inplace=True))
            for a, b in pairwise(widths)
        )
    )
