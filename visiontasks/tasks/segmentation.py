"""Segmentation: a class for each pixel."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from visiontasks.backbones import create_pyramid, explained_size, input_size, size_fault, takes_any_size
from visiontasks.errors import InputError
from visiontasks.heads import DenseHead, UNetHead
from visiontasks.ops.losses import MaskTerm, mask_cross_entropy, mask_loss
from visiontasks.ops.resampling import TensorGeometry
from visiontasks.ops.windows import Size, sliding_window
from visiontasks.outputs import SemanticMask
from visiontasks.outputs.geometry import Geometry
from visiontasks.tasks.base import Batch, Channels, OptimizerFactory, Task, check_loss_terms, default_optimizer
from visiontasks.tasks.baselines import Annotations, Baseline, majority_pixel_class
from visiontasks.tasks.class_weights import ClassWeightOption, ClassWeights
from visiontasks.tasks.metrics.classification import SampleValues
from visiontasks.tasks.metrics.masks import MaskMetrics, class_iou, confusion_matrix
from visiontasks.tasks.schedules import Cosine, Schedule

DenseHeadFactory = Callable[[list[int], list[int], int], DenseHead]
LossTerms = dict[MaskTerm, float]


class SegmentationTask(Task):
    """Fine-tunes a backbone for semantic segmentation.

    Evaluated at the size of the original images: logits are interpolated to it, never the masks. The validation and
    test loss is the plain cross entropy, averaged over images, so that it compares between recipes.

    Args:
        backbone: A timm name with or without tag ("resnet18.a1_in1k"), one of this package's, or "local-dir:FOLDER".
        weights: "hub", "none" or a path, see `visiontasks.backbones.create_pyramid`.
        num_classes: K, at least 2.
        head: Makes the head from (channels, reductions, num_classes).
        optimizer: Makes the optimizer from parameter groups; AdamW with learning rate 0.001 and weight decay 0.05 by
            default.
        schedule: Learning rate over the training.
        backbone_lr_scale: Factor on the backbone's learning rate: one number, or one per stage from shallow to deep.
        loss: The factor of each term: cross_entropy, dice, focal. A head with several predictions (stacked hourglass)
            is trained by the mean of their losses.
        class_weights: A weight above 0 for each class in cross entropy and focal loss, or "balanced", see
            `ClassWeights`.
        window: Height and width, or side, of the windows in which images are evaluated and predicted; None for whole
            images. For large images, trained on crops of this size with `resize: keep`. A backbone that does not take
            images of any size, as most vision transformers, always gets windows: by default of `image_size`.
        window_overlap: Share of a window that its neighbour covers, in [0, 1).
        ema_decay: Decay per step of the moving average of the weights, in (0, 1); 0 for none.
        in_chans: Channels that the backbone takes; 1 gets the mean of red, green and blue.
        image_size: Height and width, or side, in pixels of the images that the network is shown, which the backbone is
            built for, see `create_pyramid`; by default those that its weights were trained with.

    Raises:
        InputError: If a value is outside its range.
        MissingFileError: If the weights cannot be had.
    """

    monitor = "val/miou"
    monitor_mode = "max"
    targets = ("mask",)
    outputs = SemanticMask
    score_name = "IoU"
    hub_task = "image-segmentation"
    purpose = "predicts the class of each pixel"

    def __init__(
        self,
        backbone: str,
        *,
        weights: str,
        num_classes: int,
        head: DenseHeadFactory = UNetHead,
        optimizer: OptimizerFactory = default_optimizer,
        schedule: Schedule = Cosine(),  # noqa: B008 (a frozen value)
        backbone_lr_scale: float | list[float] = 1.0,
        loss: LossTerms | None = None,
        class_weights: ClassWeightOption = None,
        window: int | tuple[int, int] | None = None,
        window_overlap: float = 0.5,
        ema_decay: float = 0.0,
        in_chans: Channels = 3,
        image_size: int | tuple[int, int] | None = None,
    ) -> None:
        terms: LossTerms = {"cross_entropy": 1.0} if loss is None else loss
        size = (window, window) if isinstance(window, int) else window
        shown = (image_size, image_size) if isinstance(image_size, int) else image_size
        _check(num_classes, terms, size, window_overlap)
        net = create_pyramid(backbone, weights=weights, in_chans=in_chans, image_size=image_size)
        info = cast(Any, net.feature_info)
        new_head = partial(head, info.channels(), info.reduction())
        super().__init__(
            net,
            new_head(num_classes),
            MaskMetrics(num_classes),
            optimizer=optimizer,
            schedule=schedule,
            backbone_lr_scale=backbone_lr_scale,
            ema_decay=ema_decay,
            in_chans=in_chans,
        )
        self.new_head = new_head
        self.num_classes = num_classes
        self.loss_terms = terms
        self.class_weights = ClassWeights(class_weights, num_classes)
        self.window = _window(net, size, trained=shown or input_size(net))
        self.window_overlap = window_overlap

    def forward(self, image: Tensor) -> Tensor:
        """Map normalized images (B, in_chans, H, W) to logits (B, K, H, W)."""
        logits: Tensor = self.head(*self.features(image), (image.shape[-2], image.shape[-1]))
        return logits

    def features(self, image: Tensor) -> tuple[list[Tensor]]:
        """Map normalized images (B, in_chans, H, W) to feature maps, finest first."""
        with explained_size(self.backbone, image):
            return (self.backbone(image),)

    def training_loss(self, batch: Batch) -> Tensor:
        """Weighted sum of the losses, averaged over the head's predictions."""
        image = self.normalize(batch["image"])
        size = image.shape[-2], image.shape[-1]
        predictions = cast(DenseHead, self.head).forward_all(*self.features(image), size)
        weight = self.class_weights()
        losses = [mask_loss(logits, batch["mask"], self.loss_terms, class_weight=weight) for logits in predictions]
        return torch.stack(losses).mean()

    def update_metrics(self, metrics: Metric, batch: Batch) -> SampleValues:
        """Add a batch's logits and masks at the original size; a sample's score is the mean IoU of its image."""
        scores = []
        original = self._original_logits(self.raw_output(batch), batch["geometry"])
        for logits, mask in zip(original, batch["mask"], strict=True):
            classes = mask.long()
            confusion = confusion_matrix(logits, classes)
            metrics.update(confusion, mask_cross_entropy(logits.unsqueeze(0), classes.unsqueeze(0)))
            scores.append(class_iou(confusion).nanmean())
        return {"score": torch.stack(scores)}

    def raw_output(self, batch: Batch) -> Tensor:
        """Logits (B, K, H, W), float32, at the size of the batch's images."""
        return self.pixel_logits(batch["image"])

    def decode(self, raw: Tensor, geometry: Tensor) -> Iterator[SemanticMask]:
        """Interpolate logits to the sizes of the original images."""
        for logits in self._original_logits(raw, geometry):
            yield SemanticMask(scores=logits)

    def graph_values(self, image: Tensor, geometry: TensorGeometry) -> dict[str, Tensor]:
        """`mask` uint8 (B, H, W), class indices."""
        return {"mask": geometry.original_map(self.pixel_logits(image)).argmax(1).to(torch.uint8)}

    def baseline(self, training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline:
        """The class that most training pixels have."""
        return majority_pixel_class(training, measured, class_names)

    def pixel_logits(self, image: Tensor) -> Tensor:
        """Logits (B, K, H, W), float32, of uint8 images (B, 3, H, W); window by window where that was asked for."""
        normalized = self.normalize(image)
        if self.window is None or image.shape[-2:] == self.window:
            logits: Tensor = self(normalized)
            return logits.float()
        return sliding_window(normalized, self, window=self.window, overlap=self.window_overlap)

    def _original_logits(self, logits: Tensor, geometry: Tensor) -> Iterator[Tensor]:
        """Logits (K, H_i, W_i) of each image at its original size."""
        for of_image, row in zip(logits, geometry.tolist(), strict=True):
            yield Geometry.of(row).original_map(of_image)


def _window(net: nn.Module, window: Size | None, *, trained: Size) -> Size | None:
    """The recipe's window, or the size of the training images where a backbone does not take images of any size."""
    if window is None:
        return None if takes_any_size(net) else trained
    fault = size_fault(net, window) if window != trained else ""
    if fault:
        raise InputError(
            f"model.init_args.window: the backbone cannot take windows of {window[0]}x{window[1]} px ({fault}): leave "
            f"it out, or set it to {list(trained)}"
        )
    return window


def _check(num_classes: int, terms: LossTerms, window: Size | None, overlap: float) -> None:
    if not 2 <= num_classes <= 255:
        raise InputError(f"segmentation needs 2 to 255 classes, got num_classes={num_classes}")
    check_loss_terms("loss", terms, get_args(MaskTerm))
    if window is not None and min(window) < 1:
        raise InputError(f"model.init_args.window must be 1 or more pixels, got {window}")
    if not 0 <= overlap < 1:
        raise InputError(f"model.init_args.window_overlap must be in [0, 1), got {overlap}")
