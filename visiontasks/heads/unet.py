"""The expanding path of U-Net.

U-Net: Convolutional Networks for Biomedical Image Segmentation. Olaf Ronneberger, Philipp Fischer, Thomas Brox, 2015.
https://arxiv.org/abs/1505.04597

Deviations: the contracting path is any backbone. Convolutions are padded and batch-normalized, so nothing is cropped.
The 2x2 up-convolution is a repetition of pixels to the skip's actual size. Widths are a quarter of the paper's by
default. A backbone whose finest map is not of the image's size gets a last level without a skip.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from visiontasks.heads.dense import DenseHead, Size, check_positive, conv_norm_act, repeat_to, size_of


class UNetHead(DenseHead):
    """Goes from the deepest map to the image's size: upsample, join the skip, two 3x3 convolutions.

    Args:
        channels: See DenseHead.
        reductions: See DenseHead.
        num_classes: K.
        finest_width: Channels at the image's size; a level of stride s has s times as many. The paper's 64 gives 512 at
            stride 8.

    Raises:
        InputError: If finest_width is below 1.
    """

    def __init__(
        self, channels: Sequence[int], reductions: Sequence[int], num_classes: int, *, finest_width: int = 16
    ) -> None:
        super().__init__(channels, reductions)
        check_positive(finest_width=finest_width)
        skips = [*zip(channels[:-1], reductions[:-1], strict=True)]
        if reductions[0] > 1:
            skips.insert(0, (0, 1))
        self.levels = nn.ModuleList()
        below = channels[-1]
        for skip_channels, reduction in reversed(skips):
            out = finest_width * reduction
            self.levels.append(nn.Sequential(conv_norm_act(below + skip_channels, out), conv_norm_act(out, out)))
            below = out
        self.score = nn.Conv2d(below, num_classes, 1)

    def forward(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """See DenseHead."""
        *skips, x = features
        for i, level in enumerate(self.levels):
            if i < len(skips):
                skip = skips[-1 - i]
                x = torch.cat([repeat_to(x, size_of(skip)), skip], 1)
            else:
                x = repeat_to(x, size)
            x = level(x)
        logits: Tensor = self.score(x)
        return logits
