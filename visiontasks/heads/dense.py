"""What the dense heads share: their interface, and the layers that they are made of.

A dense head is constructed from a pyramid's `backbone.feature_info`, `Head(channels, reductions, num_classes)`, and
called with the pyramid's maps and the image's size. Every head resizes to the actual size of the maps, so any image
size works.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.errors import InputError

Size = tuple[int, int]  # height, width


class DenseHead(nn.Module):
    """Maps the feature maps of a pyramid to a score for each class at each pixel of the image.

    Args:
        channels: Channels of each map, finest first: `feature_info.channels()`.
        reductions: Stride of each map, in the same order: `feature_info.reduction()`.

    Raises:
        ValueError: If the two do not describe one pyramid, finest first.
    """

    def __init__(self, channels: Sequence[int], reductions: Sequence[int]) -> None:
        super().__init__()
        if not channels or len(channels) != len(reductions) or list(reductions) != sorted(reductions):
            raise ValueError(
                f"expected the channels and strides of one pyramid, finest first, got channels={list(channels)}, "
                f"reductions={list(reductions)}"
            )

    def forward(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """Map features to logits.

        Args:
            features: Maps (B, C_i, H_i, W_i), finest first.
            size: Height and width of the image, and of the logits.

        Returns:
            Logits (B, K, H, W).
        """
        raise NotImplementedError

    def forward_all(self, features: Sequence[Tensor], size: Size) -> list[Tensor]:
        """Give every prediction that is to be trained, the output of `forward` last; most heads have only that."""
        return [self(features, size)]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization that takes the running statistics where a channel has one value only.

    That is a map of 1 x 1 pixels in a batch of one image. It has no variance, and PyTorch's layer raises an error.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (B, C, H, W)."""
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def conv_norm_act(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    """Convolution that keeps the size (odd kernels), batch normalization, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        BatchNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def check_positive(**values: int) -> None:
    """Raise InputError for the first of a head's arguments that is below 1."""
    for name, value in values.items():
        if value < 1:
            raise InputError(f"model.init_args.head.init_args.{name} must be at least 1, got {value}")


def resize(x: Tensor, size: Size) -> Tensor:
    """Interpolate (B, C, h, w) bilinearly to (B, C, *size); unchanged if it has that size."""
    return x if size_of(x) == size else F.interpolate(x, size, mode="bilinear", align_corners=False)


def repeat_to(x: Tensor, size: Size) -> Tensor:
    """Repeat the nearest pixel of (B, C, h, w) up to (B, C, *size); unchanged if it has that size."""
    return x if size_of(x) == size else F.interpolate(x, size, mode="nearest")


def size_of(x: Tensor) -> Size:
    """Height and width of (B, C, H, W)."""
    return x.shape[-2], x.shape[-1]
