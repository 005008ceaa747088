"""What every task shares: backbone and head on the device, normalization, optimizer, schedule, the three steps."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast, get_args
from weakref import WeakKeyDictionary

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from visiontasks.backbones import explained_size, normalization
from visiontasks.errors import InputError
from visiontasks.library_internals import restart_loading
from visiontasks.ops.calibration import tempered_softmax
from visiontasks.ops.folding import Norms, find_norms, trains_kept_norms
from visiontasks.ops.quick_gradients import QuickGradients
from visiontasks.ops.resampling import TensorGeometry
from visiontasks.outputs import Output
from visiontasks.tasks.arguments import (
    CALIBRATION,
    TASK,
    class_path,
    from_checkpoint,
    plain_arguments,
    restore_calibration,
)
from visiontasks.tasks.baselines import Annotations, Baseline
from visiontasks.tasks.calibration import Calibration
from visiontasks.tasks.class_weights import ClassWeights
from visiontasks.tasks.epoch_loss import check_finite, loss_so_far, restore_loss
from visiontasks.tasks.groups import fuse, parameter_groups, scale_learning_rates
from visiontasks.tasks.known_images import KnownImages
from visiontasks.tasks.metrics.classification import MeanLoss, SampleTable, SampleValues
from visiontasks.tasks.metrics.match_rows import MatchRow
from visiontasks.tasks.metrics.values import BY_SAMPLE, MetricValue, facts_of, metric_values
from visiontasks.tasks.precision import keep_targets
from visiontasks.tasks.report_sections import ReportSection
from visiontasks.tasks.schedules import Plateau, Schedule
from visiontasks.tasks.training_length import training_length
from visiontasks.tasks.weight_average import weight_average

Batch = dict[str, Any]
OptimizerFactory = Callable[[list[dict[str, Any]]], Optimizer]
Channels = Literal[1, 3]
Split = Literal["val", "test"]

SEED_PRIMES = (1_000_003, 10_007)  # give each (epoch, batch, rank) its own 63-bit seed


def default_optimizer(groups: list[dict[str, Any]]) -> AdamW:
    """AdamW with learning rate 0.001 and weight decay 0.05, where a recipe names no optimizer."""
    return AdamW(groups, lr=1e-3, weight_decay=0.05)


def check_loss_terms(key: str, terms: Mapping[Any, float], known: Sequence[str]) -> None:
    """Check the terms of a loss in a recipe, of which jsonargparse does not check the names.

    Raises:
        InputError: If a term is unknown, a factor negative or not finite, or none above 0.
    """
    valid = all(name in known and 0 <= factor < inf for name, factor in terms.items())
    if not valid or not sum(terms.values()) > 0:
        raise InputError(
            f"model.init_args.{key} must give factors of 0 or more, one above 0, to {', '.join(known)}; got {terms}"
        )


_NORMS: "WeakKeyDictionary[Task, Norms]" = WeakKeyDictionary()
"""Of each task; not among its attributes, which are copied."""


@cache
def compiled(features: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """A class's `features`, compiled on the first call; of the class, so that a task can still be copied."""
    function: Callable[..., tuple[Any, ...]] = torch.compile(features)
    return function


class Task(LightningModule):
    """A backbone and a head with a loss; subclasses define the loss, the metrics and the outputs.

    Images come as uint8 and are normalized here, on the device, with the backbone's own mean and std, so that an
    exported model carries its preprocessing. Randomness inside the network (dropout, mixup) is a function of the seed
    at construction, the epoch, the batch and the rank, so that a resumed training repeats it.

    Args:
        backbone: A vector or pyramid view, see `visiontasks.backbones`.
        head: Maps what the backbone gives to the task's output.
        metrics: Measures a split; `compute()` gives a dict of scalars, of which `n` counts the samples, of vectors with
            a value for each class, of `<name>_by_sample` with values whose mean is the scalar `<name>`, for its
            interval, and of `confusion`, counts by true and predicted class, where these cannot be had from the
            samples' own classes.
        optimizer: Makes the optimizer from parameter groups.
        schedule: Learning rate over the training.
        backbone_lr_scale: Factor on the backbone's learning rate: one number, or one per stage from shallow to deep.
        ema_decay: Decay per step of an exponential moving average of the weights, in (0, 1), which is then what is
            validated, saved and tested; 0 for none.
        sample_columns: Names of what `update_metrics` gives of each sample.
        in_chans: Channels that the backbone takes; 1 gets the mean of red, green and blue.

    Raises:
        InputError: If a value is outside its range.
    """

    is_compiled: bool = False
    """Whether `features` runs as torch.compile makes it."""
    has_fixed_features: bool = False
    """Whether a frozen backbone gives the same tensors (B, ...) for a sample each time."""
    monitor: str
    monitor_mode: Literal["min", "max"]
    targets: tuple[str, ...] = ()
    """What the data's samples may have (`DataModule.target`), first what is meant for the task; empty for anything."""
    outputs: ClassVar[type[Output]]
    """What is predicted of an image."""
    score_name: str = "score"
    """What the score of a sample is."""
    score_measures: bool = True
    """Whether scores measure how good predictions are, so that runs are compared by them; else by their classes."""
    score_metric: str | None = None
    """The metric that is the mean of the samples' scores."""
    hub_task: str = "other"
    """What the Hugging Face hub calls such a model."""
    purpose: str = "was fine-tuned"
    """What a trained network does, a verb with its object: classifies images."""
    arguments: dict[str, Any]
    """What the task was made with, see `plain_arguments`."""
    calibration: Calibration | None = None
    """What validation images tell about the probabilities; None where they were not compared."""
    known_images: KnownImages | None = None
    """What the training's images look like to the backbone; None until it is asked for."""
    new_head: Callable[[int], nn.Module] | None = None
    """Makes the task's head anew for another number of classes, by which the rows of a class are found."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what a subclass is made with, for its checkpoints."""
        task = super().__new__(cls)
        task.arguments = plain_arguments(cls.__init__, task, *args, **kwargs)
        return task

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        metrics: Metric,
        *,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        backbone_lr_scale: float | Sequence[float] = 1.0,
        ema_decay: float = 0.0,
        sample_columns: Sequence[str] = ("score",),
        in_chans: Channels = 3,
    ) -> None:
        super().__init__()
        if in_chans not in get_args(Channels):
            raise InputError(f"model.init_args.in_chans must be 1 or 3, got {in_chans}")
        if not 0 <= ema_decay < 1:
            raise InputError(f"model.init_args.ema_decay must be in [0, 1), got {ema_decay}")
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.head = head.to(memory_format=torch.channels_last)
        self.metrics = nn.ModuleDict({split: metrics.clone() for split in get_args(Split)})
        self.sample_columns = tuple(sample_columns)
        self.samples = nn.ModuleDict({split: SampleTable(sample_columns) for split in get_args(Split)})
        self.train_loss = MeanLoss()
        self.optimizer_factory = optimizer
        self.schedule = schedule
        self.backbone_lr_scale = backbone_lr_scale
        self.ema_decay = ema_decay
        self.in_chans = in_chans
        self.seed = torch.initial_seed()
        norm = normalization(backbone)
        self.register_buffer("mean", 255 * torch.tensor(norm.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(norm.std).view(1, -1, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def normalize(self, image: Tensor) -> Tensor:
        """Turn pixels into the backbone's input.

        Args:
            image: uint8 (B, 3, H, W), RGB 0..255.

        Returns:
            (B, in_chans, H, W), (pixel / 255 - mean) / std, of the task's own precision, channels last in memory.
        """
        pixels = image.to(torch.float32, copy=True)
        if self.in_chans == 1:
            pixels = pixels.mean(dim=1, keepdim=True)
        normalized = pixels.sub_(self.mean).div_(self.std)  # in place: new memory costs more than the sums
        normalized = normalized.to(self.mean.dtype)  # bfloat16 with trainer.precision bf16-true
        return normalized.contiguous(memory_format=torch.channels_last)

    def features(self, image: Tensor) -> tuple[Any, ...]:
        """Map normalized images (B, in_chans, H, W) to what the head takes."""
        return (self.backbone(image),)

    def forward(self, image: Tensor) -> Any:
        """Map normalized images (B, in_chans, H, W) to the head's output."""
        with explained_size(self.backbone, image):
            features = self.features(image)
        return self.head(*features)

    def image_features(self, image: Tensor) -> tuple[Any, ...]:
        """Map pixels, uint8 (B, 3, H, W), to what the head takes, compiled where that was asked for."""
        normalized = self.normalize(image)
        if self.is_compiled:
            return compiled(type(self).features)(self, normalized)
        with explained_size(self.backbone, normalized):
            if image.device.type != "cpu":
                return self.features(normalized)
            with QuickGradients(self._norms(normalized) if trains_kept_norms(self) else {}):
                return self.features(normalized)

    def _norms(self, normalized: Tensor) -> Norms:
        """BatchNorm layers that a training step computes within the convolution before them."""
        if self not in _NORMS:
            _NORMS[self] = find_norms(self, self.features, normalized[:1])
        return _NORMS[self]

    def raw_output(self, batch: Batch) -> Any:
        """Map a batch's images to the head's output, or its `features` where they are known already."""
        return self.head(*self.batch_features(batch))

    def batch_features(self, batch: Batch) -> tuple[Any, ...]:
        """What the head takes of a batch's images, or its `features` where they are known already.

        Features that no gradient goes through are left in the batch, for who keeps them.
        """
        if "features" in batch:
            known: tuple[Any, ...] = batch["features"]
            return known
        features = self.image_features(batch["image"])
        if self.has_fixed_features and not any(part.requires_grad for part in features):
            batch["features"] = features
        return features

    @abstractmethod
    def training_loss(self, batch: Batch) -> Tensor:
        """Loss of a training batch, a scalar."""

    @abstractmethod
    def update_metrics(self, metrics: Metric, batch: Batch) -> SampleValues:
        """Add a batch to the metrics of its split.

        Returns:
            Values of each sample: `score` and what `sample_columns` names besides.
        """

    @abstractmethod
    def decode(self, raw: Any, geometry: Tensor) -> Iterator[Output]:
        """Turn what the network gives for a batch into predictions in pixels of the original images.

        Args:
            raw: What `raw_output` gives.
            geometry: How the images got their size, int64 (B, 8), see `visiontasks.outputs.geometry.Geometry`.

        Yields:
            B predictions, one at a time, since the scores of a large image's pixels take gigabytes.
        """

    def predict(self, batch: Batch) -> Iterator[Output]:
        """Predict a batch's images, in eval mode; see `decode`.

        Args:
            batch: `image` and `geometry`.
        """
        return self.decode(self.raw_output(batch), batch["geometry"])

    def class_probability(self, logits: Tensor) -> Tensor:
        """Probabilities of classes from logits (..., K), float32, calibrated where the task is."""
        return tempered_softmax(logits.float(), self.calibration.temperature if self.calibration else 1.0)

    def graph_values(self, image: Tensor, geometry: TensorGeometry) -> dict[str, Tensor]:
        """What an exported graph returns, in tensor operations that hold for images of any size.

        Args:
            image: uint8 (B, 3, H, W), resized.
            geometry: The way back to the original images.

        Returns:
            (B, ...) by name, which `outputs.from_graph` reads; by default a refusal.

        Raises:
            InputError: If the task has no graph.
        """
        raise InputError(f"{type(self).__name__} defines no graph_values")

    def class_evidence(self, image: Tensor, class_index: int) -> tuple[Tensor, Tensor] | None:
        """What Grad-CAM explains where no head maps vectors to classes.

        Args:
            image: uint8 (1, 3, H, W), as the network gets it.
            class_index: The class.

        Returns:
            A feature map (1, C, h, w), and the class's score, a scalar in its graph; None to go by `class_head`.
        """
        return None

    @property
    def class_head(self) -> nn.Module | None:
        """Maps the backbone's vectors to class logits (B, K) or (B, N * K); None without classes of whole images."""
        return None

    @property
    def predicts_classes(self) -> bool:
        """Whether predictions name classes."""
        return True

    @property
    def has_mean(self) -> bool:
        """Whether predictions of several views or networks can be averaged."""
        return True

    def measured(self, split: Split) -> list[MetricValue]:
        """The metrics of a measured split over all processes, with what they mean, their intervals and counts."""
        computed, scores = self.compute_metrics(split), self.sample_table(split)["score"]
        return metric_values(computed, facts_of(self.metrics[split]), scores, self.score_metric)

    def report_sections(self, split: Split, class_names: Sequence[str]) -> list[ReportSection]:
        """What the report of a measured split shows besides what it shows of every task; nothing by default."""
        return []

    def measured_calibration(self, split: Split) -> dict[str, Any] | None:
        """How well the probabilities of a measured split are calibrated, for result.json; None where they are not."""
        return None

    def match_rows(self, split: Split, class_names: Sequence[str]) -> list[MatchRow]:
        """Detections and objects of a measured split, by which two runs are compared; none by default."""
        return []

    def baseline(self, training: Annotations, measured: Annotations, class_names: Sequence[str]) -> Baseline | None:
        """Metrics of one answer for all images, which a training has to beat; None where a task defines none.

        Args:
            training: Of the training split, from which the answer is chosen.
            measured: Of the split that is measured.
            class_names: The classes, K.
        """
        return None

    def compute_metrics(self, split: Split) -> dict[str, Tensor]:
        """Values of the split's metrics over all processes, by name without the split.

        Raises:
            InputError: If the metrics give no values by name.
        """
        metrics = cast(Metric, self.metrics[split])
        values: dict[str, Tensor] = metrics.compute()
        if not isinstance(values, dict):
            raise InputError(
                f"{type(metrics).__name__}.compute() of {type(self).__name__} returned {type(values).__name__}, "
                "expected a dict of tensors by name: put metrics of torchmetrics into a MetricCollection"
            )
        return dict(values)

    def sample_table(self, split: Split) -> dict[str, Tensor]:
        """What was found of each sample of a measured split by all processes, in the order of the split.

        Returns:
            `index` int64 (n,), `score` float32 (n,), and by task `label` and `predicted` int64 (n,), the true and the
            most probable class, -1 without one or where the network gives NaN; `probability` (n,), that class's; `x1`,
            `y1`, `x2`, `y2` (n,) in pixels of the original image. Integers are class indices.
        """
        columns: dict[str, Tensor] = cast(SampleTable, self.samples[split]).compute()
        return {name: values.reshape(-1, *values.shape[1:]) for name, values in columns.items()}  # of one sample too

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Output]:
        """Predictions of a batch."""
        return list(self.predict(batch))

    @property
    def needs_class_counts(self) -> bool:
        """Whether weights of classes are to be balanced by `balance` before a training."""
        return any(weights.unbalanced for weights in self._class_weights())

    def balance(self, class_counts: Sequence[int], num_samples: int = 0) -> None:
        """Weight classes by their counts, where that was asked for; see `ClassWeights.balance`."""
        for weights in self._class_weights():
            if weights.unbalanced:
                weights.balance(class_counts, num_samples)

    def setup(self, stage: str) -> None:
        """Keep the targets of batches in float32, whatever the precision."""
        keep_targets(self.trainer.precision_plugin)

    def on_fit_start(self) -> None:
        """Refuse to train with class weights that are to be balanced and were not."""
        if self.needs_class_counts:
            raise InputError('weights that are "balanced" need the counts: call task.balance(data.class_counts) first')

    def on_train_start(self) -> None:
        """Restart a resumed training's loader, which `training_length` opened before the checkpoint was loaded."""
        restart_loading(self.trainer)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what is random inside the network by (seed, epoch, batch, rank)."""
        by_epoch, by_batch = SEED_PRIMES
        position = (self.current_epoch * by_epoch + batch_idx) * by_batch + self.global_rank
        torch.manual_seed((self.seed + position) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch; its mean over the epoch is logged as train/loss.

        Raises:
            DivergenceError: If it is infinite or no number in any process, before the optimizer makes its step.
        """
        loss = self.training_loss(batch)
        check_finite(loss.detach(), self, batch["index"])
        number = len(batch["index"])
        self.train_loss.update(loss.detach() * number, number)
        return loss

    def on_train_epoch_start(self) -> None:
        """Start the mean loss anew; not where a resumed training is in the middle of an epoch."""
        self.train_loss.reset()

    def on_train_epoch_end(self) -> None:
        """Log the mean loss."""
        self.log("train/loss", self.train_loss.compute(), prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch's loss so far, of each process, so that it is summed in the same order again.

        Also what the task was made with, by which the checkpoint is opened.
        """
        checkpoint[TASK] = {
            "class_path": class_path(type(self)),
            **self.arguments,
            "mean": (self.mean / 255).flatten().tolist(),
            "std": (self.std / 255).flatten().tolist(),
        }
        checkpoint["train_loss"] = loss_so_far(self.train_loss)
        if self.calibration is not None:
            checkpoint[CALIBRATION] = self.calibration.to_json()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up this process's part of the epoch's loss."""
        restore_calibration(self, checkpoint)
        restore_loss(self.train_loss, checkpoint["train_loss"], self.global_rank)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation metrics."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the test metrics."""
        self._evaluate("test", batch)

    def on_validation_epoch_start(self) -> None:
        """Start the metrics anew, also after a validation that was interrupted."""
        self._reset_metrics()

    def on_test_epoch_start(self) -> None:
        """Start the metrics anew."""
        self._reset_metrics()

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics, and step a schedule that goes by them.

        Lightning would step it after the epoch's checkpoint, so that a resumed training would miss a step.
        """
        values = self._log_metrics("val")
        if isinstance(self.schedule, Plateau) and self.trainer.state.fn == TrainerFn.FITTING:
            metric = self.schedule.metric(values)
            if not self.trainer.sanity_checking:
                cast(ReduceLROnPlateau, self.lr_schedulers()).step(metric)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_metrics("test")

    def configure_optimizers(self) -> Any:
        """One optimizer over all parameters in named groups, and its schedule."""
        groups = parameter_groups(self, lr_scale=self.backbone_lr_scale)
        optimizer = self.optimizer_factory(groups)
        scale_learning_rates(optimizer.param_groups)
        fuse(optimizer)
        steps_per_epoch, num_steps = training_length(self.trainer, self.schedule)
        scheduler = self.schedule.build(optimizer, steps_per_epoch=steps_per_epoch, num_steps=num_steps)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step the schedule, unless `on_validation_epoch_end` does."""
        if not isinstance(self.schedule, Plateau):
            scheduler.step()

    def configure_callbacks(self) -> list[Callback]:
        """The moving average of the weights, where asked for."""
        return [weight_average(self.ema_decay)] if self.ema_decay else []

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # no hparams file, and nothing is unpickled
        cls, checkpoint_path: str | Path, map_location: torch.device | str | None = None, **arguments: Any
    ) -> Self:
        """Make a task from a checkpoint, with its weights, in eval mode.

        `visiontasks.open_run` opens a run, with the names of its classes and how images are prepared.

        Args:
            checkpoint_path: A file that a trainer saved.
            map_location: The device of the task; the CPU by default.
            arguments: Of the constructor, in place of those that the checkpoint stores; those that it cannot store,
                such as a head that is a function.

        Raises:
            MissingFileError: If there is no such file.
            InputError: If it cannot be read, is of another class, or arguments are missing that decide the weights.
        """
        return from_checkpoint(cls, Path(checkpoint_path), arguments).eval().to(map_location or "cpu")

    def _evaluate(self, split: Split, batch: Batch) -> None:
        values = self.update_metrics(cast(Metric, self.metrics[split]), batch)
        cast(SampleTable, self.samples[split]).update(batch["index"], values)

    def _class_weights(self) -> list[ClassWeights]:
        return [module for module in self.modules() if isinstance(module, ClassWeights)]

    def _reset_metrics(self) -> None:
        for metric in [*self.metrics.values(), *self.samples.values()]:
            cast(Metric, metric).reset()

    def _log_metrics(self, split: Split) -> dict[str, Tensor]:
        self.sample_table(split)  # while the other processes do too; it is kept
        found = self.compute_metrics(split).items()
        scalars = {name: value for name, value in found if value.ndim == 0 and not name.endswith(BY_SAMPLE)}
        values = {f"{split}/{name}": value for name, value in scalars.items()}
        # compute_metrics is already over all processes: the same value everywhere, nothing to synchronize
        for name, value in values.items():
            self.log(name, value, prog_bar=name == self.monitor)
        return values
