"""Several labels: any number of them for each image, each with its own probability."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf
from typing import cast

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torchmetrics import Metric

from visiontasks.backbones import create_vector
from visiontasks.errors import InputError
from visiontasks.heads import LinearHead
from visiontasks.ops.losses import label_losses
from visiontasks.ops.resampling import TensorGeometry
from visiontasks.outputs import LabelScores
from visiontasks.tasks.base import Batch, Channels, OptimizerFactory, Split, Task, default_optimizer
from visiontasks.tasks.baselines import Annotations, Baseline, label_frequencies
from visiontasks.tasks.chosen_threshold import ChosenThreshold
from visiontasks.tasks.class_weights import ClassWeightOption, PositiveWeights
from visiontasks.tasks.label_report import label_sections
from visiontasks.tasks.made_heads import HEAD, check_head
from visiontasks.tasks.metrics.classification import SampleValues
from visiontasks.tasks.metrics.labels import DEFAULT_THRESHOLD, LabelMetrics
from visiontasks.tasks.metrics.values import MetricValue
from visiontasks.tasks.report_sections import ReportSection
from visiontasks.tasks.schedules import Cosine, Schedule

HeadFactory = Callable[[int, int], nn.Module]


class MultiLabelTask(Task):
    """Fine-tunes a backbone to find all labels of an image, of which it may have any number.

    Labels that are unknown have no part in loss and metrics. After each validation every label gets the threshold with
    its highest F1, which the task stores: it decides which labels `predict` names, and where precision, recall and F1
    of the test split are measured. The validation and test loss is the plain binary cross entropy.

    Args:
        backbone: A timm name with or without tag ("resnet18.a1_in1k"), one of this package's, or "local-dir:FOLDER".
        weights: "hub", "none" or a path, see `visiontasks.backbones.create_vector`.
        num_classes: K labels, at least 1.
        head: Makes the head from (in_features, num_classes).
        optimizer: Makes the optimizer from parameter groups; AdamW with learning rate 0.001 and weight decay 0.05 by
            default.
        schedule: Learning rate over the training.
        backbone_lr_scale: Factor on the backbone's learning rate: one number, or one per stage from shallow to deep.
        positive_weights: A weight above 0 in the loss of the images that have each label, or "balanced", see
            `PositiveWeights`.
        gamma_negative: Of the asymmetric loss, see `visiontasks.ops.losses.label_losses`; 0 for plain cross entropy.
            Its authors take 4 here, 1 for `gamma_positive` and 0.05 for `margin`.
        gamma_positive: Of the asymmetric loss.
        margin: Of the asymmetric loss.
        ema_decay: Decay per step of the moving average of the weights, in (0, 1); 0 for none.
        in_chans: Channels that the backbone takes; 1 gets the mean of red, green and blue.
        image_size: Height and width, or side, in pixels of the images that the network is shown, which the backbone is
            built for, see `create_vector`; by default those that its weights were trained with.

    Raises:
        InputError: If a value is outside its range.
        MissingFileError: If the weights cannot be had.
    """

    has_fixed_features = True
    monitor = "val/map"
    monitor_mode = "max"
    targets = ("label list",)
    outputs = LabelScores
    score_name = "F1"
    hub_task = "image-classification"
    purpose = "finds all labels of images"

    def __init__(
        self,
        backbone: str,
        *,
        weights: str,
        num_classes: int,
        head: HeadFactory = LinearHead,
        optimizer: OptimizerFactory = default_optimizer,
        schedule: Schedule = Cosine(),  # noqa: B008 (a frozen value)
        backbone_lr_scale: float | list[float] = 1.0,
        positive_weights: ClassWeightOption = None,
        gamma_negative: float = 0.0,
        gamma_positive: float = 0.0,
        margin: float = 0.0,
        ema_decay: float = 0.0,
        in_chans: Channels = 3,
        image_size: int | tuple[int, int] | None = None,
    ) -> None:
        _check(num_classes, gamma_negative, gamma_positive, margin)
        net = create_vector(backbone, weights=weights, in_chans=in_chans, image_size=image_size)
        in_features = cast(int, net.head_hidden_size)
        new_head = partial(head, in_features)
        made = new_head(num_classes)
        check_head(HEAD, made, in_features, (num_classes,))
        super().__init__(
            net,
            made,
            LabelMetrics(num_classes),
            optimizer=optimizer,
            schedule=schedule,
            backbone_lr_scale=backbone_lr_scale,
            ema_decay=ema_decay,
            sample_columns=("score", "missed", "invented"),
            in_chans=in_chans,
        )
        self.new_head = new_head
        self.num_classes = num_classes
        self.positive_weights = PositiveWeights(positive_weights, num_classes)
        self.gamma_negative, self.gamma_positive, self.margin = gamma_negative, gamma_positive, margin
        self.register_buffer("threshold", torch.full((num_classes,), DEFAULT_THRESHOLD))
        self.threshold: Tensor

    def training_loss(self, batch: Batch) -> Tensor:
        """Mean of the known labels' losses, with positive weights and asymmetry."""
        truth: Tensor = batch["labels_hot"]
        losses = label_losses(
            self.raw_output(batch).float(),
            truth,
            positive_weight=self.positive_weights(),
            gamma_negative=self.gamma_negative,
            gamma_positive=self.gamma_positive,
            margin=self.margin,
        )
        return losses.sum() / (~truth.isnan()).sum()

    def update_metrics(self, metrics: Metric, batch: Batch) -> SampleValues:
        """Add a batch; values of samples follow once all are known, see `sample_table`."""
        logits, truth = self.raw_output(batch).float(), batch["labels_hot"]
        metrics.update(batch["index"], logits, truth)
        unknown = torch.full((len(truth),), torch.nan, device=truth.device)
        return {"score": unknown, "missed": unknown, "invented": unknown}

    def compute_metrics(self, split: Split) -> dict[str, Tensor]:
        """See `Task.compute_metrics`."""
        metrics = cast(LabelMetrics, self.metrics[split])
        if split == "test":
            metrics.threshold = self.threshold.cpu().double().numpy()
        return super().compute_metrics(split)

    def sample_table(self, split: Split) -> dict[str, Tensor]:
        """See `Task.sample_table`: `score` is F1 at the thresholds; numbers of labels `missed` and `invented`."""
        self.compute_metrics(split)
        metrics, table = cast(LabelMetrics, self.metrics[split]), super().sample_table(split)
        if metrics.labels is None:
            return table
        right, missed, invented = (each.sum(1) for each in metrics.labels.outcomes(metrics.used_threshold))
        whole = 2 * right + missed + invented
        score = np.where(whole > 0, 2 * right / np.maximum(whole, 1), 1)  # where there is nothing to find nor found
        found = {"score": score, "missed": missed, "invented": invented}
        return table | {name: torch.from_numpy(values.astype(np.float32)) for name, values in found.items()}

    def measured(self, split: Split) -> list[MetricValue]:
        """See `Task.measured`; intervals are by bootstrap over the images."""
        values = super().measured(split)
        intervals = cast(LabelMetrics, self.metrics[split]).intervals()
        return [
            MetricValue(
                each.name, each.value, each.n, each.facts, intervals.get(each.name, each.interval), each.by_class
            )
            for each in values
        ]

    def report_sections(self, split: Split, class_names: Sequence[str]) -> list[ReportSection]:
        """See `Task.report_sections`."""
        self.compute_metrics(split)
        metrics = cast(LabelMetrics, self.metrics[split])
        return [] if metrics.labels is None else label_sections(metrics.labels, metrics.used_threshold, class_names)

    def baseline(self, training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline:
        """The labels' frequencies for every image."""
        return label_frequencies(measured)

    def decode(self, raw: Tensor, geometry: Tensor) -> Iterator[LabelScores]:
        """Sigmoid of logits (B, K)."""
        threshold = self.threshold.cpu().numpy()
        for probability in raw.detach().float().sigmoid().cpu().numpy():
            yield LabelScores(probability, threshold)

    def graph_values(self, image: Tensor, geometry: TensorGeometry) -> dict[str, Tensor]:
        """`probability` and `threshold`, float32 (B, K)."""
        logits: Tensor = self.raw_output({"image": image})
        probability = logits.float().sigmoid()
        return {"probability": probability, "threshold": self.threshold.expand_as(probability)}

    @property
    def class_head(self) -> nn.Module:
        """The head."""
        return self.head

    def choose_threshold(self) -> None:
        """Take the thresholds with the highest F1 of the validation split."""
        self.threshold.copy_(self.compute_metrics("val")["class_threshold"])

    def configure_callbacks(self) -> list[Callback]:
        """What chooses the thresholds, while the weights are still the average of which they are."""
        return [ChosenThreshold(), *super().configure_callbacks()]


def _check(num_classes: int, gamma_negative: float, gamma_positive: float, margin: float) -> None:
    if num_classes < 1:
        raise InputError(f"model.init_args.num_classes must be 1 or more, got {num_classes}")
    for key, value in (("gamma_negative", gamma_negative), ("gamma_positive", gamma_positive)):
        if not 0 <= value < inf:
            raise InputError(f"model.init_args.{key} must be 0 or more, got {value}")
    if not 0 <= margin < 1:
        raise InputError(f"model.init_args.margin must be in [0, 1), got {margin}")
