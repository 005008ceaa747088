"""Metrics over a whole split, exact with any batch size and number of processes: classification, and single samples."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


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
    loss_sum: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name in ("correct", "correct_top5", "support"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")  # float32: MPS has no float64

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
        self.loss_sum += F.cross_entropy(logits, label, reduction="sum")

    def compute(self) -> dict[str, Tensor]:
        """Values by name; top5 and top5_error only above 5 classes, where they say something."""
        n = self.support.sum()
        present = self.support > 0
        values = {
            "top1": self.correct.sum() / n,
            "macro_accuracy": (self.correct[present] / self.support[present]).mean(),
            "loss": self.loss_sum / n,
            "n": n.float(),
        }
        if self.num_classes > 5:
            values["top5"] = self.correct_top5.sum() / n
            values["top5_error"] = 1 - values["top5"]
        values["top1_error"] = 1 - values["top1"]
        return values


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
