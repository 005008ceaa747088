"""Detection: a box, a class and a score for each of any number of objects."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from lightning.pytorch import Callback
from torch import Tensor
from torchmetrics import Metric

from visiontasks.backbones import create_pyramid, explained_size
from visiontasks.errors import InputError
from visiontasks.heads import DetectionHead, FCOSHead
from visiontasks.heads.detection import Candidates, Objects
from visiontasks.ops.resampling import TensorGeometry
from visiontasks.outputs.found_objects import FoundObjects
from visiontasks.outputs.geometry import Geometry
from visiontasks.tasks.base import Batch, Channels, OptimizerFactory, Split, Task, default_optimizer
from visiontasks.tasks.baselines import Annotations, Baseline
from visiontasks.tasks.chosen_threshold import ChosenThreshold
from visiontasks.tasks.detection_report import detection_sections
from visiontasks.tasks.metrics.average_precision import AveragePrecision, DetectedBoxes, TrueBoxes
from visiontasks.tasks.metrics.classification import SampleValues
from visiontasks.tasks.metrics.detection_errors import missed_and_invented
from visiontasks.tasks.metrics.match_rows import MatchRow, match_rows
from visiontasks.tasks.metrics.precision_recall import image_f1
from visiontasks.tasks.metrics.values import MetricValue
from visiontasks.tasks.report_sections import ReportSection
from visiontasks.tasks.schedules import Cosine, Schedule

DetectionHeadFactory = Callable[[list[int], list[int], int], DetectionHead]

LEAST_SCORE = 0.01
"""Detections below are not even measured; 0.05, as elsewhere, cuts the end of the precision-recall curve."""


@dataclass(frozen=True)
class RawDetections:
    """What the network gives for a batch.

    Args:
        candidates: Of each image, boxes in pixels of the batch's images.
        size: Height and width of the batch's images.
    """

    candidates: Candidates
    size: tuple[int, int]


class DetectionTask(Task):
    """Fine-tunes a backbone to detect objects.

    Measured as COCO does it, at the size of the original images. Regions of crowds are ignored in the loss and in the
    measures. After each validation the score with the highest F1 becomes the threshold, which the head stores: it is
    what `predict` shows by default, and where precision, recall and F1 of the test split are measured.

    Args:
        backbone: A timm name with or without tag ("resnet18.a1_in1k"), one of this package's, or "local-dir:FOLDER".
        weights: "hub", "none" or a path, see `visiontasks.backbones.create_pyramid`.
        num_classes: K, at least 1; there is none for the background.
        head: Makes the head from (channels, reductions, num_classes).
        most_detections: Of an image, the best ones.
        optimizer: Makes the optimizer from parameter groups; AdamW with learning rate 0.001 and weight decay 0.05 by
            default.
        schedule: Learning rate over the training.
        backbone_lr_scale: Factor on the backbone's learning rate: one number, or one per stage from shallow to deep.
        ema_decay: Decay per step of the moving average of the weights, in (0, 1); 0 for none.
        in_chans: Channels that the backbone takes; 1 gets the mean of red, green and blue.
        image_size: Height and width, or side, in pixels of the images that the network is shown, which the backbone is
            built for, see `create_pyramid`; by default those that its weights were trained with.

    Raises:
        InputError: If a value is outside its range.
        MissingFileError: If the weights cannot be had.
    """

    has_fixed_features = True
    monitor = "val/map"
    monitor_mode = "max"
    targets = ("box list",)
    outputs = FoundObjects
    score_name = "F1"
    hub_task = "object-detection"
    purpose = "detects the objects of images"
    head: DetectionHead

    def __init__(
        self,
        backbone: str,
        *,
        weights: str,
        num_classes: int,
        head: DetectionHeadFactory = FCOSHead,
        most_detections: int = 100,
        optimizer: OptimizerFactory = default_optimizer,
        schedule: Schedule = Cosine(),  # noqa: B008 (a frozen value)
        backbone_lr_scale: float | list[float] = 1.0,
        ema_decay: float = 0.0,
        in_chans: Channels = 3,
        image_size: int | tuple[int, int] | None = None,
    ) -> None:
        for key, value in (("num_classes", num_classes), ("most_detections", most_detections)):
            if value < 1:
                raise InputError(f"model.init_args.{key} must be 1 or more, got {value}")
        net = create_pyramid(backbone, weights=weights, in_chans=in_chans, image_size=image_size)
        info = cast(Any, net.feature_info)
        new_head = partial(head, info.channels(), info.reduction())
        super().__init__(
            net,
            new_head(num_classes),
            AveragePrecision(num_classes),
            optimizer=optimizer,
            schedule=schedule,
            backbone_lr_scale=backbone_lr_scale,
            ema_decay=ema_decay,
            sample_columns=("score", "missed", "invented"),
            in_chans=in_chans,
        )
        self.new_head = new_head
        self.num_classes = num_classes
        self.most_detections = most_detections

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map normalized images (B, in_chans, H, W) to the feature maps that the head takes, finest first."""
        with explained_size(self.backbone, image):
            maps = self.backbone(image)
        return tuple(maps[i] for i in self.head.maps)

    def forward(self, image: Tensor) -> Candidates:
        """Map normalized images (B, in_chans, H, W) to candidates."""
        candidates: Candidates = self.head(self.features(image), (image.shape[-2], image.shape[-1]))
        return candidates

    def training_loss(self, batch: Batch) -> Tensor:
        """Sum of the head's losses."""
        features = self.batch_features(batch)
        rows = zip(batch["boxes"], batch["labels"], batch["crowd"], strict=True)
        losses = self.head.losses(features, _size(batch), [Objects(*row) for row in rows])
        return torch.stack([*losses.values()]).sum()

    def raw_output(self, batch: Batch) -> RawDetections:
        """Candidates of a batch."""
        features, size = self.batch_features(batch), _size(batch)
        return RawDetections(self.head(features, size), size)

    def update_metrics(self, metrics: Metric, batch: Batch) -> SampleValues:
        """Add a batch's detections and objects; values of samples follow once all are known, see `sample_table`."""
        device = batch["index"].device
        found: list[DetectedBoxes] = [
            {
                "boxes": torch.from_numpy(each.boxes).to(device),
                "scores": torch.from_numpy(each.scores).to(device),
                "labels": torch.from_numpy(each.labels).to(device),
            }
            for each in self.decode(self.raw_output(batch), batch["geometry"])
        ]
        rows = zip(batch["boxes"], batch["labels"], batch["crowd"], strict=True)
        true: list[TrueBoxes] = [{"boxes": b, "labels": k, "crowd": c} for b, k, c in rows]
        metrics.update(batch["index"], found, true)
        unknown = torch.full((len(true),), torch.nan, device=device)
        return {"score": unknown, "missed": unknown, "invented": unknown}

    def compute_metrics(self, split: Split) -> dict[str, Tensor]:
        """See `Task.compute_metrics`; what no object defines, such as the precision of small ones, is left out."""
        metrics = cast(AveragePrecision, self.metrics[split])
        if split == "test":
            metrics.threshold = float(self.head.threshold)
        values = super().compute_metrics(split)
        found = {name: value for name, value in values.items() if value.ndim or name == "map" or not value.isnan()}
        return {"class_f1": found.pop("class_f1"), **found}  # the report shows the first one beside the samples' F1

    def sample_table(self, split: Split) -> dict[str, Tensor]:
        """See `Task.sample_table`: `score` is F1 at the threshold; `missed` objects and `invented` detections."""
        self.compute_metrics(split)
        metrics = cast(AveragePrecision, self.metrics[split])
        table = super().sample_table(split)
        if metrics.matches is None:
            return table
        matches, threshold = metrics.matches, metrics.used_threshold
        is_missed, is_invented = missed_and_invented(matches, threshold)
        of_missed, of_invented = matches.truths.image[is_missed], matches.image[is_invented]
        counts = [torch.from_numpy(rows).bincount(minlength=matches.num_images) for rows in (of_missed, of_invented)]
        f1 = torch.from_numpy(image_f1(matches, threshold))
        return table | {"score": f1.float(), "missed": counts[0].float(), "invented": counts[1].float()}

    def measured(self, split: Split) -> list[MetricValue]:
        """See `Task.measured`; intervals are by bootstrap over the images."""
        values = super().measured(split)
        intervals = cast(AveragePrecision, self.metrics[split]).intervals()
        return [
            MetricValue(each.name, each.value, each.n, each.facts, intervals.get(each.name), each.by_class)
            for each in values
        ]

    def report_sections(self, split: Split, class_names: Sequence[str]) -> list[ReportSection]:
        """See `Task.report_sections`."""
        self.compute_metrics(split)
        metrics = cast(AveragePrecision, self.metrics[split])
        if metrics.matches is None:
            return []
        return detection_sections(metrics.matches, metrics.used_threshold, class_names)

    def match_rows(self, split: Split, class_names: Sequence[str]) -> list[MatchRow]:
        """See `Task.match_rows`."""
        self.compute_metrics(split)
        matches = cast(AveragePrecision, self.metrics[split]).matches
        return [] if matches is None else match_rows(matches, class_names)

    def baseline(self, training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline:
        """No detection in any image, which finds nothing: a constant box rarely has the IoU that counts."""
        metrics = dict.fromkeys(("map", "map50", "map75", "recall", "f1"), 0.0)
        return Baseline("no detection", "answers that no image has an object", metrics)

    def decode(self, raw: RawDetections, geometry: Tensor) -> Iterator[FoundObjects]:
        """Choose the detections, and move their boxes to the original images, to which they are cut."""
        found_of = self.head.select(raw.candidates, raw.size, least_score=LEAST_SCORE, most=self.most_detections)
        for found, row in zip(found_of, geometry.tolist(), strict=True):
            image = Geometry.of(row)
            height, width = image.size
            boxes = image.original_boxes(found.boxes.detach().cpu().numpy()).clip(0, [width, height, width, height])
            yield FoundObjects(
                image.size,
                boxes.astype("float32"),
                found.scores.detach().cpu().numpy(),
                found.labels.cpu().numpy(),
                self.num_classes,
                float(self.head.threshold),
                self.most_detections,
            )

    def graph_values(self, image: Tensor, geometry: TensorGeometry) -> dict[str, Tensor]:
        """`boxes` (B, N, 4), `scores` (B, N) and `labels` (B, N) of the N best detections above the threshold.

        Boxes are in pixels of the original images; where there are fewer, the scores behind them are 0.
        """
        height, width = image.shape[-2], image.shape[-1]
        candidates = self.head.forward_in_graph(self.batch_features({"image": image}), (height, width))
        found = self.head.select_in_graph(candidates, (height, width), most=self.most_detections)
        unit = torch.tensor([width, height, width, height], dtype=torch.float32)
        return {
            "boxes": geometry.original_boxes(found.boxes / unit),
            "scores": torch.where(found.scores >= self.head.threshold, found.scores, 0.0),
            "labels": found.labels,
        }

    @torch.enable_grad()
    def class_evidence(self, image: Tensor, class_index: int) -> tuple[Tensor, Tensor]:
        """The surest detection of a class, and the map that it depends on most."""
        maps = [each.detach().requires_grad_() for each in self.image_features(image)]
        candidates: Candidates = self.head(maps, (image.shape[-2], image.shape[-1]))
        score = candidates.scores[0, :, class_index].max()
        gradients = torch.autograd.grad(score, maps, retain_graph=True)
        pairs = zip(gradients, maps, strict=True)
        strength = [float((gradient * each.detach()).abs().sum()) for gradient, each in pairs]
        return maps[strength.index(max(strength))], score

    def choose_threshold(self) -> None:
        """Take the threshold with the highest F1 of the validation split."""
        self.head.threshold.fill_(float(self.compute_metrics("val")["threshold"]))

    def configure_callbacks(self) -> list[Callback]:
        """What chooses the threshold, before the average of the weights, of which it is, gives way to the weights."""
        return [ChosenThreshold(), *super().configure_callbacks()]


def _size(batch: Batch) -> tuple[int, int]:
    """Height and width of a batch's images, which need not be there."""
    if "image" in batch:
        return batch["image"].shape[-2], batch["image"].shape[-1]
    height, width = batch["geometry"][0, 4:6].tolist()
    return height, width
