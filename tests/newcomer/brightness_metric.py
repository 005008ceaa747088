"""How close predicted shares are to true ones."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from visiontasks.tasks.metrics import MetricFacts


class MeanError(Metric):
    """Mean closeness over samples."""

    facts: ClassVar[Mapping[str, MetricFacts]] = {
        "closeness": MetricFacts("1 less the mean distance of predicted and true brightness")
    }
    full_state_update = False
    total: Tensor
    n: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, closeness: Tensor) -> None:
        self.total += closeness.double().sum()
        self.n += len(closeness)

    def compute(self) -> dict[str, Tensor]:
        return {"closeness": (self.total / self.n).float(), "n": self.n.float()}
