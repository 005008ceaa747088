"""Classification: one label for each image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, cast, get_args

import torch
import torch.nn.functional as F
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import Metric
from torchvision.transforms.v2 import CutMix, MixUp, RandomChoice

from visiontasks.backbones import create_vector
from visiontasks.errors import InputError
from visiontasks.heads import LinearHead
from visiontasks.ops.resampling import TensorGeometry
from visiontasks.outputs import ClassScores
from visiontasks.outputs.base import P_KNOWN
from visiontasks.tasks.base import Batch, Channels, OptimizerFactory, Split, Task, default_optimizer
from visiontasks.tasks.baselines import Annotations, Baseline, majority_class
from visiontasks.tasks.calibration import Calibration, calibration_section
from visiontasks.tasks.class_weights import ClassWeightOption, ClassWeights
from visiontasks.tasks.made_heads import HEAD, check_head
from visiontasks.tasks.metrics.classification import (
    ClassificationMetrics,
    SampleTable,
    SampleValues,
    ranked_classes,
)
from visiontasks.tasks.report_sections import ReportSection
from visiontasks.tasks.schedules import Cosine, Schedule

HeadFactory = Callable[[int, int], nn.Module]

MOST_CLASSES = 2000
"""With more no temperature is chosen: the logits of all validation images are held, 8 kB of each here."""
_LOGITS = "logits"
"""Column of the samples that no file has."""


class ClassificationTask(Task):
    """Fine-tunes a backbone for image classification.

    The validation and test loss is the plain cross entropy, without smoothing, weights or mixing, so that it compares
    between recipes.

    Args:
        backbone: A timm name with or without tag ("resnet18.a1_in1k"), one of this package's, or "local-dir:FOLDER".
        weights: "hub", "none" or a path, see `visiontasks.backbones.create_vector`.
        num_classes: K, at least 2.
        head: Makes the head from (in_features, num_classes).
        optimizer: Makes the optimizer from parameter groups; AdamW with learning rate 0.001 and weight decay 0.05 by
            default.
        schedule: Learning rate over the training.
        backbone_lr_scale: Factor on the backbone's learning rate: one number, or one per stage from shallow to deep.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1) (Szegedy et al., "Rethinking the
            Inception Architecture for Computer Vision", 2016).
        class_weights: A weight above 0 for each class in the loss, or "balanced", see `ClassWeights`.
        mixup_alpha: Parameter of the beta distribution of mixup (Zhang et al., "mixup: Beyond Empirical Risk
            Minimization", 2018); 0 for none.
        cutmix_alpha: The same for CutMix (Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers
            with Localizable Features", 2019); 0 for none. With both, each batch takes one of the two at random.
        ema_decay: Decay per step of the moving average of the weights, in (0, 1); 0 for none.
        in_chans: Channels that the backbone takes; 1 gets the mean of red, green and blue.
        image_size: Height and width, or side, in pixels of the images that the network is shown, which the backbone is
            built for, see `create_vector`; by default those that its weights were trained with.

    Raises:
        InputError: If a value is outside its range.
        MissingFileError: If the weights cannot be had.
    """

    monitor = "val/top1"
    monitor_mode = "max"
    targets = ("label", "box")
    outputs = ClassScores
    score_name = "probability"
    score_measures = False
    hub_task = "image-classification"
    purpose = "classifies images"

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
        label_smoothing: float = 0.0,
        class_weights: ClassWeightOption = None,
        mixup_alpha: float = 0.0,
        cutmix_alpha: float = 0.0,
        ema_decay: float = 0.0,
        in_chans: Channels = 3,
        image_size: int | tuple[int, int] | None = None,
    ) -> None:
        _check(num_classes, label_smoothing, mixup_alpha, cutmix_alpha)
        net = create_vector(backbone, weights=weights, in_chans=in_chans, image_size=image_size)
        in_features = cast(int, net.head_hidden_size)
        new_head = partial(head, in_features)
        made = new_head(num_classes)
        check_head(HEAD, made, in_features, (num_classes,))
        super().__init__(
            net,
            made,
            ClassificationMetrics(num_classes),
            optimizer=optimizer,
            schedule=schedule,
            backbone_lr_scale=backbone_lr_scale,
            ema_decay=ema_decay,
            sample_columns=("label", "predicted", "probability", "score"),
            in_chans=in_chans,
        )
        self.new_head = new_head
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.class_weights = ClassWeights(class_weights, num_classes)
        self.mix = _mixing(mixup_alpha, cutmix_alpha, num_classes)
        self.has_fixed_features = self.mix is None
        columns = (*self.sample_columns, _LOGITS)
        self.samples = nn.ModuleDict({split: SampleTable(columns) for split in get_args(Split)})

    def training_loss(self, batch: Batch) -> Tensor:
        """Cross entropy with smoothing, class weights and mixing."""
        label = _label(batch)
        if self.mix is None:
            logits = self.raw_output(batch)
        else:
            image, label = self.mix(self.normalize(batch["image"]), label)
            logits = self(image)
        return F.cross_entropy(logits.float(), label, weight=self.class_weights(), label_smoothing=self.label_smoothing)

    def update_metrics(self, metrics: Metric, batch: Batch) -> SampleValues:
        """Add a batch's logits and labels; a sample's score is the probability of its label."""
        logits, label = self.raw_output(batch).float(), _label(batch)
        metrics.update(logits, label)
        probability, predicted = self.class_probability(logits), ranked_classes(logits)[:, 0]
        of_label, of_predicted = (
            probability.gather(1, each.clamp_min(0).unsqueeze(1)).squeeze(1) for each in (label, predicted)
        )
        kept = logits if self.num_classes <= MOST_CLASSES else logits[:, :1]
        return {"label": label, "predicted": predicted, "probability": of_predicted, "score": of_label, _LOGITS: kept}

    def sample_table(self, split: Split) -> dict[str, Tensor]:
        """See `Task.sample_table`."""
        return {name: values for name, values in super().sample_table(split).items() if name != _LOGITS}

    def on_validation_epoch_end(self) -> None:
        """Log the metrics, and choose the temperature of these weights, before a checkpoint of them is written."""
        super().on_validation_epoch_end()
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.calibration = Calibration.fit(*self._logits("val")) if self.num_classes <= MOST_CLASSES else None

    def measured_calibration(self, split: Split) -> dict[str, Any] | None:
        """See `Task.measured_calibration`."""
        if self.calibration is None:
            return None
        return self.calibration.measured(*self._logits(split), split)

    def report_sections(self, split: Split, class_names: Sequence[str]) -> list[ReportSection]:
        """See `Task.report_sections`."""
        measured = self.measured_calibration(split)
        return [] if measured is None else [calibration_section(measured)]

    def decode(self, raw: Tensor, geometry: Tensor) -> Iterator[ClassScores]:
        """Probabilities of logits (B, K)."""
        yield from map(ClassScores, self.class_probability(raw.detach()).cpu().numpy())

    def predict(self, batch: Batch) -> Iterator[ClassScores]:
        """See `Task.predict`; with how unusual each image is, where `known_images` are there."""
        features = self.batch_features(batch)
        outputs = self.decode(self.head(*features), batch["geometry"])
        if self.known_images is None:
            return outputs
        shares = self.known_images.p_known(features[0].detach()).tolist()
        return (replace(output, p_known=share) for output, share in zip(outputs, shares, strict=True))

    def graph_values(self, image: Tensor, geometry: TensorGeometry) -> dict[str, Tensor]:
        """`probability` float32 (B, K), and `p_known` float32 (B,), where `known_images` are there."""
        features = self.batch_features({"image": image})
        values = {"probability": self.class_probability(self.head(*features))}
        return values if self.known_images is None else values | {P_KNOWN: self.known_images.p_known(features[0])}

    def baseline(self, training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline:
        """The class that most training images have."""
        return majority_class(training, measured, class_names)

    @property
    def class_head(self) -> nn.Module:
        """The head."""
        return self.head

    def _logits(self, split: Split) -> tuple[Tensor, Tensor]:
        """Logits (n, K) and labels (n,) of a measured split, over all processes."""
        columns = super().sample_table(split)
        return columns[_LOGITS], columns["label"]


def _label(batch: Batch) -> Tensor:
    """The class of each image, (B,); of data with boxes that of its only object."""
    label: Tensor = batch["label"] if "label" in batch else torch.cat(batch["labels"])
    return label


def _mixing(mixup_alpha: float, cutmix_alpha: float, num_classes: int) -> Any:
    mixes: list[Any] = []
    if mixup_alpha:
        mixes.append(MixUp(alpha=mixup_alpha, num_classes=num_classes))
    if cutmix_alpha:
        mixes.append(CutMix(alpha=cutmix_alpha, num_classes=num_classes))
    if not mixes:
        return None
    return mixes[0] if len(mixes) == 1 else RandomChoice(mixes)


def _check(num_classes: int, label_smoothing: float, mixup_alpha: float, cutmix_alpha: float) -> None:
    if num_classes < 2:
        raise InputError(f"classification needs at least 2 classes, got num_classes={num_classes}")
    if not 0 <= label_smoothing < 1:
        raise InputError(f"model.init_args.label_smoothing must be in [0, 1), got {label_smoothing}")
    if not (0 <= mixup_alpha < inf and 0 <= cutmix_alpha < inf):
        raise InputError(
            f"model.init_args.mixup_alpha and cutmix_alpha must be >= 0, got {mixup_alpha}, {cutmix_alpha}"
        )
