"""Metrics over a whole split, exact with any batch size and number of processes: classification, and single samples."""

from math import nan

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from visiontasks.ops.metrics import exact_sum


class ClassificationMetrics(Metric):
    """Counts per class, from which every accuracy follows.

    torchmetrics' MulticlassAccuracy averages over classes by default, refuses top_k above the class count, counts
    a class without samples as 0 and takes the class of the first NaN; here accuracy is over samples, macro accuracy
    over the classes that occur, and a sample with a NaN among its logits is wrong.

    Args:
        num_classes: K.
    """

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
        ranked = logits.topk(min(5, self.num_classes), dim=1).indices == label.unsqueeze(1)
        ranked &= ~logits.isnan().any(dim=1, keepdim=True)
        self.support += label.bincount(minlength=self.num_classes)
        self.correct += label[ranked[:, 0]].bincount(minlength=self.num_classes)
        self.correct_top5 += label[ranked.any(dim=1)].bincount(minlength=self.num_classes)
        self.losses.append(F.cross_entropy(logits, label, reduction="none"))

    def compute(self) -> dict[str, Tensor]:
        """Values by name; top5 and top5_error only above 5 classes, where they say something."""
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


def mean_of(values: Tensor | list[Tensor], n: Tensor) -> Tensor:
    """Sum of a metric's gathered values by n, float32, the same for any batches and processes; NaN if n is 0."""
    gathered = dim_zero_cat(values)
    number = int(n)
    return torch.tensor(exact_sum(gathered) / number if number else nan, device=gathered.device)


class SampleScores(Metric):
    """How well each sample was done, to find the worst ones."""

    full_state_update = False
    index: list[Tensor]
    score: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("index", [], dist_reduce_fx="cat")
        self.add_state("score", [], dist_reduce_fx="cat")

    def update(self, index: Tensor, score: Tensor) -> None:
        """Add samples.

        Args:
            index: Rows of the samples in their split, (B,), int64.
            score: Higher is better; NaN where there was nothing to measure, (B,), float32.
        """
        self.index.append(index)
        self.score.append(score)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Index and score of every sample of all processes, in the order of the index, (n,) each."""
        index, score = dim_zero_cat(self.index), dim_zero_cat(self.score)
        order = index.argsort()
        return index[order], score[order]
