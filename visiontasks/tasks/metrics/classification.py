"""Metrics over a whole split, exact with any batch size and number of processes: classification, and single samples."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from visiontasks.ops.metrics import exact_sum
from visiontasks.tasks.metrics.values import MetricFacts

SampleValues = Mapping[str, Tensor]
"""Of each sample of a batch, (B, ...): `score`, higher is better, NaN where there is no truth; and what a task adds."""
MAX_GUESSES = 5  # of the top-5 errors
LOSS = MetricFacts(
    "the quantity that training minimises, here without label smoothing or class weights; confident mistakes raise it",
    lower_is_better=True,
)


class ClassificationMetrics(Metric):
    """Counts per class, from which every accuracy follows.

    torchmetrics' MulticlassAccuracy averages over classes by default, refuses top_k above the class count, counts
    a class without samples as 0 and takes the class of the first NaN; here accuracy is over samples, macro accuracy
    over the classes that occur, and a sample with a NaN among its logits is wrong.

    Args:
        num_classes: K.
    """

    facts: ClassVar[Mapping[str, MetricFacts]] = {
        "top1": MetricFacts(
            "share of images whose most probable class is the true one",
            headline="of the {split} images are classified correctly",
            is_share=True,
            in_percent=True,
        ),
        "macro_accuracy": MetricFacts(
            "mean of the classes' accuracies: rare classes count as much as common ones", is_detail=True
        ),
        "loss": MetricFacts(f"cross-entropy, {LOSS.meaning}", lower_is_better=True),
        "top5": MetricFacts(
            "share of images whose true class is among the five most probable ones", is_share=True, in_percent=True
        ),
        "top5_error": MetricFacts(
            "share of images whose true class is not among the five most probable ones",
            is_share=True,
            lower_is_better=True,
            is_detail=True,
        ),
        "top1_error": MetricFacts(
            "share of images whose most probable class is wrong", is_share=True, lower_is_better=True, is_detail=True
        ),
    }
    full_state_update = False
    correct: Tensor
    correct_top5: Tensor
    support: Tensor
    losses: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name in ("correct", "correct_top5", "support"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("losses", [], dist_reduce_fx="cat")  # a sum would depend on who adds up what

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Add samples.

        Args:
            logits: (B, K), float32.
            label: (B,), int64 class indices.
        """
        ranked = ranked_classes(logits) == label.unsqueeze(1)
        self.support += label.bincount(minlength=self.num_classes)
        self.correct += label[ranked[:, 0]].bincount(minlength=self.num_classes)
        self.correct_top5 += label[ranked.any(dim=1)].bincount(minlength=self.num_classes)
        self.losses.append(F.cross_entropy(logits, label, reduction="none"))

    def compute(self) -> dict[str, Tensor]:
        """Values by name; top5 and top5_error only above 5 classes."""
        n = self.support.sum()
        present = self.support > 0
        values = {
            "top1": self.correct.sum() / n,
            "macro_accuracy": (self.correct[present] / self.support[present]).mean(),
            "loss": mean_of(self.losses, n),
            "n": n.float(),
        }
        if self.num_classes > 5:
            values["top5"] = self.correct_top5.sum() / n
            values["top5_error"] = 1 - values["top5"]
        values["top1_error"] = 1 - values["top1"]
        return values


class MeanLoss(Metric):
    """Mean of the training's losses over an epoch, which a resumed training goes on with."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, total: Tensor | float, count: float) -> None:
        """Add the sum of the losses of some samples."""
        self.total += total
        self.count += count

    def compute(self) -> Tensor:
        """The mean over the samples of all processes."""
        return self.total / self.count


def ranked_classes(logits: Tensor) -> Tensor:
    """The most probable classes, the first one first, and -1 for all of them where one of the logits is NaN.

    Args:
        logits: (..., K).

    Returns:
        Class indices, int64, (..., min(5, K)).
    """
    ranked = logits.topk(min(MAX_GUESSES, logits.shape[-1]), dim=-1).indices
    return ranked.where(~logits.isnan().any(-1, keepdim=True), -1)


def mean_of(values: Tensor | list[Tensor], n: Tensor) -> Tensor:
    """Sum of a metric's gathered values by n, float32, the same for any batches and processes; NaN if n is 0."""
    gathered = dim_zero_cat(values)
    number = int(n)
    return torch.tensor(exact_sum(gathered) / number if number else nan, dtype=torch.float32, device=gathered.device)


class SampleTable(Metric):
    """What was found of each sample of a split: how well it was done, and what was predicted.

    Args:
        columns: Names of what `update` gets of each sample.
    """

    full_state_update = False

    def __init__(self, columns: Sequence[str] = ("score",)) -> None:
        super().__init__()
        self.columns = ("index", *columns)
        for name in self.columns:  # declared before the first batch, so that all processes have the same ones
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, index: Tensor, values: SampleValues) -> None:
        """Add samples.

        Args:
            index: Rows of the samples in their split, (B,), int64.
            values: Of each column (B, ...).

        Raises:
            ValueError: If a column is missing or unknown.
        """
        found = {"index": index, **values}
        if set(found) != set(self.columns):
            raise ValueError(f"expected values of {', '.join(self.columns)}, got {', '.join(found)}")
        for name, column in found.items():
            getattr(self, name).append(column)

    def compute(self) -> dict[str, Tensor]:
        """The columns of all samples of all processes, in the order of `index`, (n, ...) each."""
        columns: dict[str, Tensor] = {name: dim_zero_cat(getattr(self, name)) for name in self.columns}
        order = columns["index"].argsort()
        return {name: values[order] for name, values in columns.items()}
