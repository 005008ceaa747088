"""Stacked hourglasses with a prediction after each.

Stacked Hourglass Networks for Human Pose Estimation. Alejandro Newell, Kaiyu Yang, Jia Deng, 2016.
https://arxiv.org/abs/1603.06937

Deviations: the paper's stem is a backbone, all of whose maps are projected to one width and added at stride 4. Scores
are class logits instead of joint heatmaps, interpolated from stride 4 to the image's size. Pooling rounds up and
upsampling goes to the actual size, so that any size works. By default two stacks of 128 channels (the paper has eight
of 256).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.heads.dense import (
    BatchNorm,
    DenseHead,
    Size,
    check_positive,
    conv_norm_act,
    repeat_to,
    resize,
    size_of,
)

WORKING_STRIDE = 4


class HourglassHead(DenseHead):
    """Hourglasses in a row, each on the features and the prediction of the one before.

    `forward` gives the last prediction, `forward_all` that of each stack, to take a loss of each.

    Args:
        channels: See DenseHead.
        reductions: See DenseHead.
        num_classes: K.
        num_stacks: Hourglasses, at least 1.
        stack_width: Channels between the modules, even and above 0.
        num_poolings: How often an hourglass halves the resolution, at least 1.

    Raises:
        InputError: If one of them is out of its range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int,
        *,
        num_stacks: int = 2,
        stack_width: int = 128,
        num_poolings: int = 4,
    ) -> None:
        super().__init__(channels, reductions)
        check_positive(num_stacks=num_stacks, num_poolings=num_poolings)
        if stack_width < 2 or stack_width % 2:
            raise InputError(f"model.init_args.head.init_args.stack_width must be even, got {stack_width}")
        # the finest map that is not finer than the working stride, else the deepest
        self.working_index = next((i for i, r in enumerate(reductions) if r >= WORKING_STRIDE), len(reductions) - 1)
        self.projections = nn.ModuleList(nn.Conv2d(c, stack_width, 1) for c in channels)
        self.hourglasses = nn.ModuleList(
            nn.Sequential(
                Hourglass(stack_width, num_poolings), Residual(stack_width), conv_norm_act(stack_width, stack_width, 1)
            )
            for _ in range(num_stacks)
        )
        self.scores = nn.ModuleList(nn.Conv2d(stack_width, num_classes, 1) for _ in range(num_stacks))
        self.merge_features = nn.ModuleList(nn.Conv2d(stack_width, stack_width, 1) for _ in range(num_stacks - 1))
        self.merge_logits = nn.ModuleList(nn.Conv2d(num_classes, stack_width, 1) for _ in range(num_stacks - 1))

    def forward(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """See DenseHead."""
        return resize(self._stacks(features)[-1], size)

    def forward_all(self, features: Sequence[Tensor], size: Size) -> list[Tensor]:
        """Logits (B, K, H, W) after each stack."""
        return [resize(logits, size) for logits in self._stacks(features)]

    def _stacks(self, features: Sequence[Tensor]) -> list[Tensor]:
        size = size_of(features[self.working_index])
        x = torch.stack([_fit(f, p, size) for f, p in zip(features, self.projections, strict=True)]).sum(0)
        predictions = []
        for i, (hourglass, score) in enumerate(zip(self.hourglasses, self.scores, strict=True)):
            y = hourglass(x)
            logits = score(y)
            predictions.append(logits)
            if i < len(self.merge_features):
                x = x + self.merge_features[i](y) + self.merge_logits[i](logits)
        return predictions


class Hourglass(nn.Module):
    """Halves the resolution, recurs, upsamples, and adds a branch at full resolution."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.skip = Residual(width)
        self.down = Residual(width)
        self.inner: nn.Module = Hourglass(width, depth - 1) if depth > 1 else Residual(width)
        self.up = Residual(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        y = self.up(self.inner(self.down(F.max_pool2d(x, 2, ceil_mode=True))))
        skip: Tensor = self.skip(x)
        return skip + repeat_to(y, size_of(x))


class Residual(nn.Module):
    """Bottleneck with normalization and ReLU before each convolution: 1x1 to half the width, 3x3, 1x1 back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.layers = nn.Sequential(
            BatchNorm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, half, 1, bias=False),
            BatchNorm(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1, bias=False),
            BatchNorm(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, width, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        y: Tensor = self.layers(x)
        return x + y


def _fit(feature: Tensor, projection: nn.Module, size: Size) -> Tensor:
    """Project a map to the working size: a finer one is averaged down, a coarser one interpolated."""
    if feature.shape[-2] > size[0]:
        feature = F.adaptive_avg_pool2d(feature, size)
    return resize(projection(feature), size)
