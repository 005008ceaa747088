"""The exponential moving average of a task's weights."""

from collections.abc import Sequence
from functools import partial

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


def weight_average(decay: float) -> WeightAveraging:
    """What averages the weights after each step, with a decay in (0, 1), and validates and saves the average."""
    return WeightAveraging(multi_avg_fn=partial(_update_average, decay=decay))


@torch.no_grad()
def _update_average(
    averages: Sequence[Tensor], values: Sequence[Tensor], num_averaged: Tensor, *, decay: float
) -> None:
    """Move averages towards values; equal ones stay as they are to the last bit, integers are copied.

    Lightning's EMAWeightAveraging computes decay * average + (1 - decay) * value, by which frozen weights drift.
    """
    for average, value in zip(averages, values, strict=True):
        if average.is_floating_point():
            average.lerp_(value.to(average.dtype), 1 - decay)
        else:
            average.copy_(value)
