"""Localization: a box around the object of each image, or a fixed number of them, and its class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, nan
from typing import Any, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchmetrics import Metric

from visiontasks.backbones import create_vector, map_channels
from visiontasks.errors import InputError
from visiontasks.heads import BoxHead, LinearHead
from visiontasks.ops.boxes import iou
from visiontasks.ops.losses import BoxTerm
from visiontasks.ops.losses import box_loss as mean_box_loss
from visiontasks.ops.resampling import TensorGeometry
from visiontasks.outputs import CORNERS, Detections
from visiontasks.outputs.geometry import Geometry, box_units
from visiontasks.tasks.base import Batch, Channels, OptimizerFactory, Task, check_loss_terms, default_optimizer
from visiontasks.tasks.baselines import Annotations, Baseline, constant_box
from visiontasks.tasks.localization_head import HeadFactory, LocalizationHead, Outputs, make_localization_head
from visiontasks.tasks.matching import each_box_loss, match_objects
from visiontasks.tasks.metrics.boxes import BoxMetrics
from visiontasks.tasks.metrics.classification import MAX_GUESSES, SampleValues
from visiontasks.tasks.schedules import Cosine, Schedule
from visiontasks.units import counted

LossTerms = dict[BoxTerm, float]

NO_CLASS = -100


@dataclass(frozen=True)
class Truth:
    """The objects of a batch; a row for each that an image can have.

    Args:
        box: xyxy in 0..1, (B, N, 4); NaN in an empty row.
        label: int64 (B, N), negative in an empty row; None where classes do not matter.
        is_object: Rows that are objects, bool (B, N).
        has_box: Those of them that have a box, bool (B, N).
    """

    box: Tensor
    label: Tensor | None
    is_object: Tensor
    has_box: Tensor


class LocalizationTask(Task):
    """Fine-tunes a backbone to box the object of each image, and to tell its class.

    The ways to train that the literature has:

    - boxes alone: `class_weight: 0`, or data with one class;
    - class and box together, in one loss (the default);
    - boxes on a trained classifier: `init_from`, `class_weight: 0`, `freeze_classes: true` and `finetune: {unfreeze:
      never}`. The class head stays as it is; a backbone that is trained all the same no longer fits it;
    - from there end to end: `init_from` with `class_weight` above 0 and `finetune.freeze_epochs`.

    Boxes are regressed from the backbone's last feature map, class-agnostic or one per class, as in Pierre Sermanet et
    al., "OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks", 2014,
    https://arxiv.org/abs/1312.6229 (without its sliding windows, scales and merging of boxes; the map is averaged to a
    grid of one size, beside the vector that classes are predicted from).

    With several objects per image, those predicted are matched to the true ones, see `visiontasks.tasks.matching`. A
    sample whose box a crop removed is trained by its class only. The validation and test loss is without smoothing.

    Args:
        backbone: A timm name with or without tag ("resnet18.a1_in1k"), one of this package's, or "local-dir:FOLDER".
        weights: "hub", "none" or a path, see `visiontasks.backbones.create_vector`.
        num_classes: K, at least 1.
        box_head: Makes the head from (in_features, number of boxes); it gives (B, boxes, 4), xyxy in 0..1.
        class_head: Makes the head from (in_features, N * K).
        box_loss: The factor of each term: smooth_l1, l2, giou, diou, ciou. By default smooth L1, whose gradient does
            not vanish for boxes far apart, and GIoU, which small boxes count in as much as large ones, once each
            (Carion et al., "End-to-End Object Detection with Transformers", 2020, has 5 and 2 for L1 and GIoU).
        class_weight: Factor of the cross entropy, 0 or more.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1).
        freeze_classes: With `class_weight: 0`, predict classes by a class head that stays as it is: the one of the run
            that the recipe's `init_from` names.
        per_class_boxes: Predict a box for each class: that of the true class is trained, that of the most probable
            class is the prediction.
        num_objects: N, objects per image.
        box_grid: G, the box head sees the last feature map averaged to G x G cells. 0 gives it the vector alone, which
            an average over the map left with little of where things are.
        optimizer: Makes the optimizer from parameter groups; AdamW with learning rate 0.001 and weight decay 0.05 by
            default.
        schedule: Learning rate over the training.
        backbone_lr_scale: Factor on the backbone's learning rate: one number, or one per stage from shallow to deep.
        ema_decay: Decay per step of the moving average of the weights, in (0, 1); 0 for none.
        in_chans: Channels that the backbone takes; 1 gets the mean of red, green and blue.
        image_size: Height and width, or side, in pixels of the images that the network is shown, which the backbone is
            built for, see `create_vector`; by default those that its weights were trained with.

    Raises:
        InputError: If a value is outside its range.
        MissingFileError: If the weights cannot be had.
    """

    has_fixed_features = True
    monitor = "val/iou"
    monitor_mode = "max"
    targets = ("box",)
    outputs = Detections
    score_name = "IoU"
    hub_task = "object-detection"
    purpose = "boxes the objects of images"

    def __init__(
        self,
        backbone: str,
        *,
        weights: str,
        num_classes: int,
        box_head: HeadFactory = BoxHead,
        class_head: HeadFactory = LinearHead,
        box_loss: LossTerms | None = None,
        class_weight: float = 1.0,
        label_smoothing: float = 0.0,
        freeze_classes: bool = False,
        per_class_boxes: bool = False,
        num_objects: int = 1,
        box_grid: int = 7,
        optimizer: OptimizerFactory = default_optimizer,
        schedule: Schedule = Cosine(),  # noqa: B008 (a frozen value)
        backbone_lr_scale: float | list[float] = 1.0,
        ema_decay: float = 0.0,
        in_chans: Channels = 3,
        image_size: int | tuple[int, int] | None = None,
    ) -> None:
        terms: LossTerms = {"smooth_l1": 1.0, "giou": 1.0} if box_loss is None else box_loss
        _check(num_classes, num_objects, box_grid, terms, class_weight, label_smoothing)
        has_classes = num_classes > 1 and (class_weight > 0 or freeze_classes)
        _check_layout(has_classes, num_objects, per_class_boxes)
        if freeze_classes:
            _check_frozen(num_classes, num_objects, class_weight)
        net = create_vector(backbone, weights=weights, in_chans=in_chans, image_size=image_size)
        in_features = cast(int, net.head_hidden_size)
        new_head = partial(
            make_localization_head,
            class_head if has_classes else None,
            box_head,
            in_features,
            in_features + (box_grid**2 * map_channels(net) if box_grid else 0),
            num_objects=num_objects,
            per_class_boxes=per_class_boxes,
            box_grid=box_grid,
            freeze_classes=freeze_classes,
        )
        of_classes = ("predicted", "probability") if has_classes else ()
        super().__init__(
            net,
            new_head(num_classes),
            BoxMetrics(num_classes if has_classes else 0, class_weight),
            optimizer=optimizer,
            schedule=schedule,
            backbone_lr_scale=backbone_lr_scale,
            ema_decay=ema_decay,
            sample_columns=("label", *of_classes, "score", *CORNERS) if num_objects == 1 else ("score",),
            in_chans=in_chans,
        )
        self.new_head = new_head
        self.num_classes = num_classes
        self.loss_terms = terms
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.per_class_boxes = per_class_boxes
        self.num_objects = num_objects
        self.score_metric = "iou" if num_objects == 1 else None  # else it is over objects, not over samples

    def features(self, image: Tensor) -> tuple[Any, ...]:
        """Map normalized images to vectors (B, D) and maps (B, C, h, w)."""
        net: Any = self.backbone
        feature_map = net.forward_features(image)
        return net.forward_head(feature_map), feature_map

    def forward(self, image: Tensor) -> Outputs:
        """Map normalized images to logits and boxes, see `LocalizationHead`."""
        outputs: Outputs = super().forward(image)
        return outputs

    def training_loss(self, batch: Batch) -> Tensor:
        """Box loss over the boxes, and cross entropy over the objects, weighted."""
        truth = self._truth(batch)
        logits, boxes = self._matched(self.raw_output(batch), truth)
        loss = mean_box_loss(self._trained_box(boxes, truth), truth.box, self.loss_terms, valid=truth.has_box)
        if logits is None or self.class_weight == 0:
            return loss
        class_loss = _class_losses(logits, truth, self.label_smoothing).sum() / truth.is_object.sum().clamp_min(1)
        return loss + self.class_weight * class_loss

    def update_metrics(self, metrics: Metric, batch: Batch) -> SampleValues:
        """Add a batch's objects; a sample's score is the mean IoU of its objects."""
        truth = self._truth(batch)
        raw = self.raw_output(batch)
        logits, boxes = self._matched(raw, truth)
        guess, guess_box = self._guesses(logits, boxes)
        overlap = iou(guess_box, truth.box.unsqueeze(2).expand_as(guess_box)).nan_to_num(0)  # a NaN box hits nothing
        overlap = overlap.where(truth.has_box.unsqueeze(2), nan)
        box_loss = each_box_loss(self._trained_box(boxes, truth), truth.box, self.loss_terms)
        of_objects = [overlap, box_loss]
        if logits is not None and guess is not None and truth.label is not None:
            of_objects += [guess == truth.label.unsqueeze(2), _class_losses(logits, truth)]
        metrics.update(*(values[truth.is_object] for values in of_objects))
        found = {"score": overlap[:, :, 0].nanmean(1)}
        if self.num_objects == 1:
            found |= self._table_columns(raw, batch)
        return found

    def _table_columns(self, raw: Outputs, batch: Batch) -> SampleValues:
        """What the table of samples has where each image has one object."""
        logits, boxes = raw
        guess, _ = self._guesses(logits, boxes)
        corners = np.concatenate([output.boxes for output in self.decode(raw, batch["geometry"])])
        found = dict(zip(CORNERS, torch.from_numpy(corners).to(boxes.device).unbind(1), strict=True))
        found["label"] = self._rows(batch["labels"], -1)[:, 0]
        if logits is not None and guess is not None:
            found["predicted"] = guess[:, 0, 0]
            found["probability"] = logits[:, 0].softmax(1).gather(1, guess[:, 0, :1].clamp_min(0)).squeeze(1)
        return found

    def decode(self, raw: Outputs, geometry: Tensor) -> Iterator[Detections]:
        """The box of each object, that of its most probable class where each class has its own, and probabilities."""
        logits, boxes = raw
        box = self._guesses(logits, boxes)[1][:, :, 0].detach().float().cpu().numpy()
        probability = None if logits is None else logits.detach().float().softmax(-1).cpu().numpy()
        for i, row in enumerate(geometry.tolist()):
            image = Geometry.of(row)
            yield Detections(
                image.size,
                image.original_boxes(box[i] * image.unit),
                None if probability is None else probability[i],
                is_single=self.num_objects == 1,
            )

    def graph_values(self, image: Tensor, geometry: TensorGeometry) -> dict[str, Tensor]:
        """`box` and, where there are classes, `probability`.

        `box` is float32 (B, 4), xyxy in pixels of the original image and cut to it, `probability` (B, K); with several
        objects (B, N, ...).
        """
        logits, boxes = self.raw_output({"image": image})
        found = {"box": geometry.original_boxes(self._guesses(logits, boxes)[1][:, :, 0])}
        if logits is not None:
            found["probability"] = logits.softmax(-1)
        return {name: values.squeeze(1) if self.num_objects == 1 else values for name, values in found.items()}

    def baseline(self, training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline | None:
        """The mean training box or the whole image; None with several objects, which one box cannot answer."""
        return constant_box(training, measured) if self.num_objects == 1 else None

    @property
    def class_head(self) -> nn.Module | None:
        """See `Task.class_head`."""
        return cast(LocalizationHead, self.head).classes

    @property
    def predicts_classes(self) -> bool:
        """Whether it has a class head."""
        return self.class_head is not None

    @property
    def has_mean(self) -> bool:
        """Several objects come in another order from each network and view."""
        return self.num_objects == 1

    def _truth(self, batch: Batch) -> Truth:
        """The objects of a batch in N rows for each image, their boxes in 0..1."""
        boxes: list[Tensor] = batch["boxes"]
        most = max(map(len, boxes))
        if most > self.num_objects:
            raise InputError(
                f"the data gives {counted(most, 'box', 'boxes')} per image, but model.init_args.num_objects is "
                f"{self.num_objects}: set it to {most}"
            )
        rows = self._rows(boxes, inf)  # counts of objects, sent to a GPU, would wait for it
        is_object = rows[..., 0] != inf
        box = (rows / box_units(batch["geometry"]).unsqueeze(1)).where(is_object.unsqueeze(-1), nan)
        is_valid = ~box.isnan().any(-1)
        has_classes = cast(LocalizationHead, self.head).classes is not None
        label = self._rows(batch["labels"], -1) if has_classes else None
        if self.num_objects > 1:  # an object whose box a crop removed cannot be matched
            is_object = is_object & is_valid
        return Truth(box, label, is_object, is_object & is_valid)

    def _rows(self, values: Sequence[Tensor], padding: float) -> Tensor:
        """Values of each image's objects, (N_i, ...), in N rows each, (B, N, ...)."""
        room = values[0].new_empty(self.num_objects, *values[0].shape[1:])  # one more image, which has N objects
        return pad_sequence([*values, room], batch_first=True, padding_value=padding)[:-1]

    def _matched(self, outputs: Outputs, truth: Truth) -> Outputs:
        """Put what was predicted into the order of the true objects."""
        logits, boxes = outputs
        if self.num_objects == 1:
            return outputs
        order = match_objects(
            boxes,
            truth.box,
            truth.is_object,
            self.loss_terms,
            probability=None if logits is None else logits.softmax(-1),
            label=truth.label,
            class_weight=self.class_weight,
        ).unsqueeze(2)
        boxes = boxes.gather(1, order.expand_as(boxes))
        return (None if logits is None else logits.gather(1, order.expand_as(logits))), boxes

    def _trained_box(self, boxes: Tensor, truth: Truth) -> Tensor:
        """The box of the true class where each class has its own, (B, N, 4)."""
        if not self.per_class_boxes or truth.label is None:
            return boxes
        return boxes.gather(1, truth.label.clamp_min(0).unsqueeze(2).expand(-1, -1, 4))

    def _guesses(self, logits: Tensor | None, boxes: Tensor) -> tuple[Tensor | None, Tensor]:
        """The most probable classes, (B, N, G), -1 for those of NaN, and the box that goes with each, (B, N, G, 4)."""
        if logits is None:
            return None, boxes.unsqueeze(2)
        guess = logits.topk(min(MAX_GUESSES, self.num_classes), dim=-1).indices
        if self.per_class_boxes:
            guess_box = boxes.unsqueeze(1).gather(2, guess.unsqueeze(3).expand(-1, -1, -1, 4))
        else:
            guess_box = boxes.unsqueeze(2).expand(-1, -1, guess.shape[2], -1)
        return guess.where(~logits.isnan().any(-1, keepdim=True), -1), guess_box


def _class_losses(logits: Tensor, truth: Truth, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of each row of the truth, (B, N), 0 where there is no object."""
    target = cast(Tensor, truth.label).where(truth.is_object, NO_CLASS)
    losses = F.cross_entropy(
        logits.flatten(0, 1),
        target.flatten(),
        ignore_index=NO_CLASS,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    return losses.view_as(target)


def _check(
    num_classes: int, num_objects: int, box_grid: int, terms: LossTerms, class_weight: float, label_smoothing: float
) -> None:
    if num_classes < 1:
        raise InputError(f"localization needs at least 1 class, got num_classes={num_classes}")
    if num_objects < 1:
        raise InputError(f"model.init_args.num_objects must be 1 or more, got {num_objects}")
    if box_grid < 0:
        raise InputError(f"model.init_args.box_grid must be 0 or more, got {box_grid}")
    check_loss_terms("box_loss", terms, get_args(BoxTerm))
    if not 0 <= class_weight < inf:
        raise InputError(f"model.init_args.class_weight must be 0 or more, got {class_weight}")
    if not 0 <= label_smoothing < 1:
        raise InputError(f"model.init_args.label_smoothing must be in [0, 1), got {label_smoothing}")


def _check_layout(has_classes: bool, num_objects: int, per_class_boxes: bool) -> None:
    if per_class_boxes and not has_classes:
        raise InputError(
            "model.init_args.per_class_boxes needs classes to choose a box by: give data with 2 classes or more, and "
            "set class_weight above 0 or freeze_classes to true"
        )
    if per_class_boxes and num_objects > 1:
        raise InputError(
            f"model.init_args.per_class_boxes is for one object per image, but num_objects is {num_objects}"
        )


def _check_frozen(num_classes: int, num_objects: int, class_weight: float) -> None:
    if class_weight != 0:
        raise InputError(
            f"model.init_args.freeze_classes keeps the class head as it is, but class_weight is {class_weight}: set it "
            "to 0, or leave out freeze_classes to train the class head too"
        )
    if num_classes < 2:
        raise InputError("model.init_args.freeze_classes needs data with 2 classes or more, got 1")
    if num_objects > 1:
        raise InputError(
            f"model.init_args.freeze_classes is for one class per image, but num_objects is {num_objects}: leave it "
            "out; init_from loads the backbone all the same"
        )
