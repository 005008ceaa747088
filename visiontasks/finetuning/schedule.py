"""Freeze, then fine-tune: which stages of a backbone are trained in which epoch."""

from collections import Counter
from typing import Any, Literal, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy, Strategy
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim import Optimizer

from visiontasks.backbones import Stage, split_stages, stage_outputs
from visiontasks.errors import InputError
from visiontasks.finetuning.feature_cache import CacheFeatures, FeatureCache, Frozen
from visiontasks.finetuning.freezing import checksum, frozen_tensors, release, set_mode
from visiontasks.finetuning.image_sizes import ImageSizes
from visiontasks.finetuning.plan import (
    Phase,
    describe_phase,
    is_slower,
    network_name,
    peak_learning_rates,
    phase_table,
)
from visiontasks.terminal import print_wrapped

Unfreeze = Literal["all", "stages", "never"]
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class FinetuneSchedule(Callback):
    """Trains the head first, then the backbone, or a part of it, with it.

    What is frozen follows from the epoch alone, so a resumed training needs no state. Frozen means: no gradient, no
    weight decay or momentum step, and modules that stay in eval mode through every `train()`, so that BatchNorm
    normalizes by its running statistics and does not update them. The schedule owns `requires_grad` and the mode of the
    whole backbone. After each epoch, frozen parameters and buffers must equal, to the last bit, what they were when
    they were frozen; a checkpoint stores their checksums only.

    Works with any LightningModule whose optimizer holds from the start everything that is ever trained, on one device
    or with DDP.
    `visiontasks.tasks.parameter_groups` makes such groups and gives each stage its learning rate.

    Args:
        freeze_epochs: Epochs in which the head alone is trained; 0 trains the backbone from the start.
        unfreeze: What follows: "all" stages at once; "stages", one more from the deepest on every `epochs_per_stage`
            epochs (Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018); "never".
        epochs_per_stage: Distance between two unfreezings with unfreeze="stages".
        last_stages: Only this many of the deepest stages are ever trained; None for all.
        train_batchnorm: False leaves the backbone's BatchNorm in eval mode in trained stages too: it normalizes by the
            pretrained running statistics, while its weight and bias are trained. Better where there are few images or
            small batches, whose statistics are noise; worse where the images look different.
        backbone: Name of the module's attribute that holds the backbone, "net.encoder" for a nested one.
        cache_features: "auto" caches the backbone's output while all of it is frozen, and its deepest frozen stage's
            while only deeper ones are trained, see `FeatureCache`; "off" never. The result is the same.
        cached_views: Augmented views of each sample in epochs with the same frozen part, with or without a cache. With
            1 all frozen epochs repeat the augmentation of the first, and take milliseconds where it is cached; with 0
            every epoch augments anew, and only validations and further runs on the same data are faster.
        cache_size_gb: Limit of the cache's size; the least recently used features are removed.
        image_sizes: Shorter side in pixels of the training images in the epochs that train the whole backbone, from
            small to large: all of them in turn for as many epochs each, the last, which is the data's own `image_size`,
            up to the end. Images are augmented at full size and then scaled. BatchNorm that is trained has statistics
            of smaller images until epochs at full size have renewed them. None for one size.

    Raises:
        InputError: If a value is out of its range; in training, if a frozen tensor changes or a trained one has no
            gradient.
    """

    def __init__(
        self,
        freeze_epochs: int = 1,
        *,
        unfreeze: Unfreeze = "all",
        epochs_per_stage: int = 1,
        last_stages: int | None = None,
        train_batchnorm: bool = True,
        backbone: str = "backbone",
        cache_features: CacheFeatures = "auto",
        cached_views: int = 0,
        cache_size_gb: float = 2.0,
        image_sizes: list[int] | None = None,
    ) -> None:
        if freeze_epochs < 0:
            raise InputError(f"finetune.freeze_epochs must be 0 or more, got {freeze_epochs}")
        if unfreeze not in get_args(Unfreeze):
            raise InputError(f"finetune.unfreeze must be one of {', '.join(get_args(Unfreeze))}, got {unfreeze!r}")
        if epochs_per_stage < 1:
            raise InputError(f"finetune.epochs_per_stage must be 1 or more, got {epochs_per_stage}")
        if last_stages is not None and last_stages < 1:
            raise InputError(
                f"finetune.last_stages must be 1 or more, got {last_stages}; to train the head only, set "
                "finetune.unfreeze to never"
            )
        self.freeze_epochs = freeze_epochs
        self.unfreeze = unfreeze
        self.epochs_per_stage = epochs_per_stage
        self.last_stages = last_stages
        self.train_batchnorm = train_batchnorm
        self.backbone = backbone
        self.cache_features = cache_features
        self.cached_views = cached_views
        self.cache_size_gb = cache_size_gb
        self.image_sizes = image_sizes
        self._cache = FeatureCache(cached_views, cache_size_gb)
        self._sizes = ImageSizes(image_sizes)
        self.verbose = False
        """Whether the plan is a table with numbers of parameters, learning rates and the cache's folder."""
        self._stages: list[Stage] = []
        self._checked: set[int] = set()
        self._checksums: dict[str, int] = {}

    def num_trainable(self, epoch: int, num_stages: int) -> int:
        """How many of the deepest stages are trained in an epoch, a function of the epoch alone.

        Args:
            epoch: Counted from 0.
            num_stages: Stages of the backbone.
        """
        if epoch < self.freeze_epochs:
            return 0
        limit = self._limit(num_stages)
        if self.unfreeze == "stages":
            return min(limit, 1 + (epoch - self.freeze_epochs) // self.epochs_per_stage)
        return limit

    def phases(self, num_stages: int, max_epochs: int) -> list[Phase]:
        """The training's phases, without gaps from epoch 0 to max_epochs.

        Args:
            num_stages: Stages of the backbone.
            max_epochs: Epochs of the training.
        """
        phases: list[Phase] = []
        for epoch in range(max_epochs):
            count, side = self.num_trainable(epoch, num_stages), self.image_side(epoch)
            first = epoch
            if phases and (phases[-1].num_stages, phases[-1].image_side) == (count, side):
                first = phases.pop().first_epoch
            phases.append(Phase(first, epoch + 1, count, side))
        return phases

    def image_side(self, epoch: int) -> int | None:
        """Shorter side of the training images in an epoch of this training; None where they have their full size."""
        return self._sizes.side(epoch)

    def is_read(self, split: str, epoch: int) -> bool:
        """Whether an epoch of this training reads a split's frozen outputs from the cache, as far as is known now.

        Args:
            split: "train" or "val".
            epoch: Counted from 0.
        """
        return self._cache.is_read(split, epoch)

    @property
    def num_stages(self) -> int:
        """Stages of the backbone that the last training had; 0 before any."""
        return len(self._stages)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the stages, and freeze before a strategy wraps the module."""
        if stage != "fit":
            return
        self._stages = self._find_stages(pl_module)
        self._check(trainer)
        self._checked.clear()
        self._checksums.clear()
        num_stages, backbone = len(self._stages), pl_module.get_submodule(self.backbone)
        self._sizes.begin(trainer, backbone, lambda epoch: self.num_trainable(epoch, num_stages) == num_stages)
        self._begin_cache(trainer, pl_module)
        self._set_requires_grad(self.num_trainable(0, len(self._stages)))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the optimizers, apply the epoch that a resumed training starts in, print the plan."""
        self._stages = self._find_stages(pl_module)  # trainer.sync_batchnorm has replaced modules since setup
        self._check_optimizers(trainer, pl_module)
        self._apply(trainer, pl_module)
        self._print_plan(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the epoch."""
        self._apply(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Add cached features to a batch."""
        self._cache.fill(batch, "train", trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Store the computed features."""
        self._cache.store(batch, "train", trainer.current_epoch)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add cached features to a batch."""
        self._cache.fill(batch, "val", trainer.current_epoch)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Store the computed features."""
        self._cache.store(batch, "val", trainer.current_epoch)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """After each change of what is trained: every trainable parameter must have got a gradient."""
        if id(optimizer) in self._checked:
            return
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        without = [
            name for name, p in pl_module.named_parameters() if id(p) in held and p.requires_grad and p.grad is None
        ]
        if without:
            raise InputError(
                f"{len(without)} trainable parameters got no gradient in epoch {trainer.current_epoch + 1}: "
                f"{', '.join(without[:5])}. The loss does not depend on them (then remove them from the module), or a "
                "compiled graph still has them frozen (then train without torch.compile)"
            )
        self._checked.add(id(optimizer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that no frozen tensor changed; not in a validation, which may run on averaged weights."""
        self._cache.complete(trainer.current_epoch)
        tensors = dict(frozen_tensors(pl_module, self._modules()))
        changed = [
            name for name, value in self._checksums.items() if name not in tensors or checksum(tensors[name]) != value
        ]
        if changed:
            raise InputError(
                f"{len(changed)} frozen tensors changed by the end of epoch {trainer.current_epoch + 1}: "
                f"{', '.join(changed[:5])}. Something other than a gradient moves them: a callback or hook that edits "
                "weights, an optimizer that decays weights without a gradient, or a module that updates its buffers in "
                "eval mode"
            )

    def state_dict(self) -> dict[str, Any]:
        """The checksums of frozen tensors, so that a change is found across interruptions."""
        return {"checksums": dict(self._checksums)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the checksums that were computed before the interruption."""
        self._checksums = dict(state_dict["checksums"])

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Release modules, files and data."""
        self._end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Release modules, files and data: train() works on the modules again."""
        self._end()

    def _end(self) -> None:
        self._cache.end()
        self._sizes.end()
        release(self._modules())

    def _limit(self, num_stages: int) -> int:
        """How many stages are trained in the end."""
        if self.unfreeze == "never":
            return 0
        return num_stages if self.last_stages is None else min(self.last_stages, num_stages)

    def _find_stages(self, module: nn.Module) -> list[Stage]:
        try:
            net = module.get_submodule(self.backbone)
        except AttributeError:
            raise InputError(
                f"{type(module).__name__} has no network in its attribute {self.backbone!r}: set finetune.backbone to "
                "the attribute's name"
            ) from None
        return split_stages(net)

    def _modules(self) -> list[nn.Module]:
        """All modules of the backbone, each listed without its children."""
        return [module for stage in self._stages for module in stage.modules]

    def _first_epoch(self, epoch: int) -> int:
        """The first epoch in which the same part of the backbone is frozen; the epoch itself if nothing is."""
        num_stages = len(self._stages)
        count = self.num_trainable(epoch, num_stages)
        if count == num_stages:
            return epoch
        return next(first for first in range(epoch + 1) if self.num_trainable(first, num_stages) == count)

    def _begin_cache(self, trainer: Trainer, pl_module: LightningModule) -> None:
        backbone = pl_module.get_submodule(self.backbone)
        outputs = stage_outputs(backbone)
        self._cache.begin(trainer, pl_module, backbone, self._first_epoch)
        if self.cache_features == "off":
            return
        for phase in self.phases(len(self._stages), max(1, trainer.max_epochs or 1)):
            frozen = self._stages[: len(self._stages) - phase.num_stages]
            if not frozen:
                continue
            self._set_requires_grad(phase.num_stages)
            modules = tuple(module for stage in frozen for module in stage.modules)
            last = (outputs[frozen[-1].name], frozen[-1].name) if phase.num_stages else ()
            self._cache.add(Frozen(phase.first_epoch, phase.end_epoch, modules, *last))

    def _check(self, trainer: Trainer) -> None:
        """Refuse impossible settings before the training."""
        if self.last_stages is not None and self.last_stages > len(self._stages):
            names = ", ".join(stage.name for stage in self._stages)
            raise InputError(
                f"finetune.last_stages is {self.last_stages}, but the backbone has {len(self._stages)} stages: {names}"
            )
        one_batch: bool = trainer.fast_dev_run  # type: ignore[attr-defined]  # set outside of its class
        epochs = 0 if one_batch else trainer.max_epochs or 0
        if self.unfreeze != "never" and self.freeze_epochs >= epochs > 0:
            raise InputError(
                f"finetune.freeze_epochs is {self.freeze_epochs} of trainer.max_epochs {trainer.max_epochs}, so the "
                "backbone would never be trained: raise trainer.max_epochs, lower finetune.freeze_epochs, or set "
                "finetune.unfreeze to never"
            )
        changes = self.num_trainable(0, len(self._stages)) != self._limit(len(self._stages))
        if changes and not _supports_unfreezing(trainer.strategy):
            raise InputError(
                f"FinetuneSchedule changes what is trained, which {type(trainer.strategy).__name__} does not support: "
                "use trainer.strategy ddp, or finetune.freeze_epochs 0 without finetune.unfreeze stages"
            )

    def _apply(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count = self.num_trainable(trainer.current_epoch, len(self._stages))
        first_trained = len(self._stages) - count
        for i, stage in enumerate(self._stages):
            for module in stage.modules:
                stays_frozen = isinstance(module, BATCH_NORMS) and not self.train_batchnorm
                set_mode(module, trained=i >= first_trained and not stays_frozen)
        if self._set_requires_grad(count):
            self._checked.clear()
            self._check_optimizers(trainer, pl_module)
            _wrap_again(trainer.strategy, pl_module)
        known, frozen = self._checksums, frozen_tensors(pl_module, self._modules())
        self._checksums = {name: known[name] if name in known else checksum(tensor) for name, tensor in frozen}

    def _check_optimizers(self, trainer: Trainer, module: nn.Module) -> None:
        first_trained = len(self._stages) - self._limit(len(self._stages))
        trained = {p for stage in self._stages[first_trained:] for p in stage.parameters()}
        _check_optimizers(trainer.optimizers, module, trained)

    def _set_requires_grad(self, count: int) -> bool:
        """Freeze all but the deepest `count` stages; True if a parameter changed."""
        changed = False
        first_trained = len(self._stages) - count
        for i, stage in enumerate(self._stages):
            for parameter in stage.parameters():
                trained = i >= first_trained
                changed |= parameter.requires_grad != trained
                parameter.requires_grad_(trained)
        return changed

    @rank_zero_only
    def _print_plan(self, trainer: Trainer, pl_module: LightningModule) -> None:
        max_epochs = trainer.max_epochs or -1
        if max_epochs < 0:  # open, or limited by trainer.max_steps
            max_epochs = self.freeze_epochs + self.epochs_per_stage * len(self._stages)
        rates = peak_learning_rates(trainer.optimizers)
        if self.verbose:
            console = Console(highlight=False)
            console.print(self.plan(pl_module, max_epochs=max_epochs))
            console.print("peak learning rates: " + ", ".join(f"{name} {rate:g}" for name, rate in rates.items()))
            console.print(f"{trainer.num_training_batches} batches per epoch")
            for note in self._cache.notes:
                console.print(note, soft_wrap=True)
            console.print()
            return
        network = network_name(pl_module.get_submodule(self.backbone))
        lower = is_slower(rates, self.backbone)
        phases = self.phases(len(self._stages), max_epochs)
        print_wrapped(describe_phase(phase, self._stages, network=network, is_slower=lower) for phase in phases)

    def plan(self, module: nn.Module, *, max_epochs: int) -> Table:
        """What is trained when, as a table for the terminal.

        Args:
            module: Holds the backbone.
            max_epochs: Epochs of the training.
        """
        stages = self._find_stages(module)
        return phase_table(self.phases(len(stages), max_epochs), stages, module)


def _check_optimizers(optimizers: list[Optimizer], module: nn.Module, trained: set[nn.Parameter]) -> None:
    """Check that every parameter that is ever trained is in exactly one group, frozen now or not."""
    count = Counter(id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"])
    parameters = dict(module.named_parameters())
    missing = [name for name, p in parameters.items() if not count[id(p)] and (p.requires_grad or p in trained)]
    twice = [name for name, p in parameters.items() if count[id(p)] > 1]
    if missing or twice:
        raise InputError(
            f"the optimizer must hold every parameter once, those frozen at first too; missing: {missing[:5]}, "
            f"more than once: {twice[:5]} (build it from visiontasks.tasks.parameter_groups(module))"
        )


def _supports_unfreezing(strategy: Strategy) -> bool:
    return isinstance(strategy, DDPStrategy | SingleDeviceStrategy) and not isinstance(strategy, DeepSpeedStrategy)


def _wrap_again(strategy: Strategy, module: LightningModule) -> None:
    """Wrap again for DDP, which synchronizes only parameters that required a gradient when it was constructed."""
    if isinstance(strategy, DDPStrategy):
        strategy.model = module
        strategy.configure_ddp()
