"""Caches the outputs of frozen layers: they are computed once for each sample, and read in later epochs."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from visiontasks.caches import FOLDER
from visiontasks.errors import InputError
from visiontasks.finetuning.feature_folders import features_folder
from visiontasks.finetuning.feature_injection import FeatureInjection, depends_on_place, find_placeholder
from visiontasks.finetuning.feature_store import View, row_bytes
from visiontasks.finetuning.features import GB, FeatureFiles, facts, fingerprint
from visiontasks.library_internals import is_compiled

CacheFeatures = Literal["auto", "off"]
Batch = dict[str, Any]


@dataclass(frozen=True)
class Frozen:
    """Epochs in which the same part of a backbone is frozen.

    Args:
        first_epoch: The first, counted from 0.
        end_epoch: One past the last.
        modules: What is frozen, each without its children.
        last: The last frozen module, whose output is cached; None where the whole backbone is frozen.
        last_name: Its name.
    """

    first_epoch: int
    end_epoch: int
    modules: Sequence[nn.Module]
    last: nn.Module | None = None
    last_name: str = ""

    @property
    def cached(self) -> str:
        """What is cached, for messages."""
        if self.last is None:
            return "features of frozen epochs"
        return f"outputs of {self.last_name} in epochs {self.first_epoch + 1}-{self.end_epoch}"


class FeatureCache:
    """Caches the output of a backbone's frozen part for each sample.

    Needs a task with `has_fixed_features` that accepts a batch's `features` in place of `image`, and data that leaves
    out images where its `augmented_as` returns None. Training is the same with and without the cache, to the last bit:
    `views` repeat also where nothing is cached, features are computed in the batches of the training itself, and before
    they are read in other batches, it is tested that an image's place in a batch changes nothing.

    While the whole backbone is frozen, a batch gets its features. While only the deepest stages are trained, the output
    of the deepest frozen stage is cached and injected, and a batch gets a placeholder for its images. Such maps are
    large: those of training samples are cached only where `views` repeats them, not for further runs alone, and none
    for a single epoch.

    Args:
        views: Augmented views of each sample, which later epochs with the same frozen part repeat in turn; 0 for one in
            each epoch.
        max_gb: Limit of the cache's size.
    """

    def __init__(self, views: int, max_gb: float) -> None:
        if views < 0:
            raise InputError(f"finetune.cached_views must be 0 or more, got {views}")
        if not max_gb > 0:
            raise InputError(f"finetune.cache_size_gb must be above 0, got {max_gb}")
        self.views = views
        self.max_gb = max_gb
        self.notes: list[str] = []
        """Lines of the training's plan."""
        self._why_disabled = ""
        self._facts: list[Any] = []
        self._first_epoch: Callable[[int], int] = _itself
        self._trainer: Any = None
        self._data: Any = None
        self._task: Any = None
        self._backbone: Any = None
        self._phases: list[Frozen] = []
        self._placeholders: dict[Frozen, Tensor] = {}
        self._place_matters: set[Frozen] = set()
        """Phases whose features depend on an image's place in its batch."""
        self._opened: _Opened | None = None
        self._most_objects: dict[str, int] = {}
        """Of each split, for which rows have room."""

    def begin(
        self, trainer: Trainer, module: LightningModule, backbone: nn.Module, first_epoch: Callable[[int], int]
    ) -> None:
        """Check a training before its loader is made, and let views repeat; then `add` names what to cache.

        Args:
            trainer: About to train.
            module: The task.
            backbone: Its backbone.
            first_epoch: Maps an epoch to the first one in which the same part is frozen; to itself if nothing is.
        """
        self.end()
        self.notes = []
        self._trainer, self._data = trainer, getattr(trainer, "datamodule", None)
        self._task, self._backbone = module, backbone
        self._first_epoch = first_epoch
        self._why_disabled = _why_disabled(trainer, module, self._data)
        self._facts = []
        if hasattr(self._data, "augmented_as"):
            self._data.augmented_as = self._augmented_as

    def add(self, phase: Frozen) -> None:
        """Cache the output of a phase's frozen part, whose parameters must not require a gradient now."""
        if phase.last is not None and phase.end_epoch - phase.first_epoch == 1:
            return
        why_not = self._why_disabled
        if phase.last is not None and not why_not:
            try:
                self._placeholders[phase] = self._find_placeholder(phase.last)
            except InputError as error:
                why_not = str(error)
        if why_not:
            self.notes.append(f"{phase.cached} are not cached: {why_not}")
            return
        self._phases.append(phase)
        if phase.last is not None:
            self.notes.append(f"{phase.cached} are cached{'' if self.views else ', of validation images only'}")
        elif found := self._find("train", phase.first_epoch):
            opened, view = found
            state = "complete" if view.is_complete else "cached"
            self.notes.append(f"{phase.cached} are {state} in {opened.files.folder}")

    def fill(self, batch: Batch, split: str, epoch: int) -> None:
        """Add the cached features to a batch without images, or its images where the files were damaged meanwhile."""
        found = self._find(split, epoch)
        if self._opened is not None:
            self._opened.record(found is not None)
        if found is None or "image" in batch:
            return
        opened, view = found
        known = view.rows(batch["index"])
        if known is None:
            if not opened.is_damaged:
                print(f"{opened.files.folder} was damaged during the training; computed again", flush=True)
            opened.is_damaged = True
            batch.update(self._batch(split, epoch, batch["index"].tolist()))
            return
        rows = {name: value.to(batch["index"].device) for name, value in known.items()}
        parts = [name for name in rows if name.startswith("features.")]
        opened.inject(batch, tuple(rows.pop(f"features.{i}") for i in range(len(parts))))
        batch.update(self._data.target.unpack(rows), geometry=rows["geometry"])

    def store(self, batch: Batch, split: str, epoch: int) -> None:
        """Store the features that were computed for a batch."""
        found = self._find(split, epoch)
        features = found and found[0].computed(batch)
        if found and features and not (split == "train" and self._depends_on_place(*found, batch["image"])):
            self._store(*found, batch, features, split)

    @torch.no_grad()
    def complete(self, epoch: int) -> None:
        """Compute features of the samples that an incomplete epoch left out, in batches of the usual size."""
        found = self._find("train", epoch)
        if found is not None and found[1].is_created and not found[0].is_full:
            self._complete(*found, epoch)
        if self._opened is not None and self._opened.is_full:
            self._phases.remove(self._opened.phase)
            self._close()

    def end(self) -> None:
        """Close the files; from now on images are needed."""
        self._phases.clear()
        self._place_matters.clear()
        self._placeholders.clear()
        self._most_objects.clear()
        self._close()
        if self._data is not None and hasattr(self._data, "augmented_as"):
            self._data.augmented_as = None
        self._trainer = self._data = self._task = self._backbone = None

    def is_read(self, split: str, epoch: int) -> bool:
        """Whether an epoch reads a split's features, as far as is known now; opens no files.

        Args:
            split: "train" or "val".
            epoch: Of the training.
        """
        phase = self._phase(epoch)
        if phase is None or (split == "train" and not self._caches_train(phase)):
            return False
        if self._opened is not None and self._opened.phase is phase and self._augmented_as(split, epoch) is None:
            return True
        before = epoch - phase.first_epoch
        return before > 0 if split != "train" else 0 < self.views <= before

    def _augmented_as(self, split: str, epoch: int) -> int | None:
        found = self._find(split, epoch)
        return None if found is not None and found[1].is_complete else self._augmentation_epoch(epoch)

    def _phase(self, epoch: int) -> Frozen | None:
        return next((phase for phase in self._phases if phase.first_epoch <= epoch < phase.end_epoch), None)

    def _augmentation_epoch(self, epoch: int) -> int:
        """The epoch whose augmentation an epoch repeats, with or without a cache."""
        if not self.views:
            return epoch
        first = self._first_epoch(epoch)
        return first + (epoch - first) % self.views

    def _repeats(self, phase: Frozen) -> bool:
        """Whether a phase repeats a view, and so reads it in other batches."""
        return 0 < self.views < phase.end_epoch - phase.first_epoch

    def _caches_train(self, phase: Frozen) -> bool:
        return phase not in self._place_matters and (phase.last is None or self.views > 0)

    def _depends_on_place(self, opened: "_Opened", view: View, image: Tensor) -> bool:
        """Whether features are exact in their own batch only, while other epochs of the phase read them in others."""
        phase = opened.phase
        if view.is_created or opened.is_full or not self._repeats(phase):
            return False
        modules = () if self._task.is_compiled else phase.modules
        with self._trainer.precision_plugin.forward_context():
            if not depends_on_place(lambda image: opened.compute(self._task.image_features, image), modules, image):
                return False
        self._place_matters.add(phase)
        print(
            f"{phase.cached} are cached for validation images only: in a batch of {len(image)} images their last "
            "digits depend on an image's place",
            flush=True,
        )
        return True

    def _batch(self, split: str, epoch: int, rows: Sequence[int]) -> Batch:
        """A batch of a split's samples, augmented as in an epoch."""
        batch = self._data.batch(split, [(self._augmentation_epoch(epoch), row) for row in rows])
        batch = self._trainer.precision_plugin.convert_input(batch)
        moved: Batch = self._trainer.strategy.batch_to_device(batch)
        return moved

    def _complete(self, opened: "_Opened", view: View, epoch: int) -> None:
        missing, size = view.missing(), self._data.batch_size
        for first in range(0, len(missing), size):
            rows = missing[first : first + size]
            batch = self._batch("train", epoch, rows)
            image = batch["image"]
            whole = torch.cat([image, image[:1].expand(size - len(rows), *image.shape[1:])])
            with self._trainer.precision_plugin.forward_context():
                features = opened.compute(self._task.image_features, whole)
            self._store(opened, view, batch, tuple(part[: len(rows)] for part in features), "train")

    def _find(self, split: str, epoch: int) -> "tuple[_Opened, View] | None":
        """The files and rows of a split as augmented in an epoch; None where nothing is cached."""
        phase = self._phase(epoch)
        if phase is None or (split == "train" and not self._caches_train(phase)):
            return None
        if self._opened is None or self._opened.phase is not phase:
            self._open(phase)
        if self._opened is None:
            return None
        name = f"train.{self._augmentation_epoch(epoch)}" if split == "train" else split
        return self._opened, self._opened.files.view(name, len(self._data.source(split)))

    def _open(self, phase: Frozen) -> None:
        self._close()
        self._facts = self._facts or facts(self._trainer, self._task, self._data)
        name = fingerprint(self._backbone, phase.modules, self._facts)
        try:
            files = FeatureFiles(name, int(self.max_gb * GB), _about(self._trainer, self._data, self._backbone))
        except OSError as error:
            self._phases.remove(phase)
            print(f"{phase.cached} are not cached: {_cannot_write(error)}", flush=True)
            return
        if files.is_ours:
            self._opened = _Opened(phase, files, self._placeholders.get(phase))
            return
        files.close()
        self._phases.remove(phase)
        print(f"{phase.cached} are not cached: another training writes the same files", flush=True)

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def _store(self, opened: "_Opened", view: View, batch: Batch, features: tuple[Tensor, ...], split: str) -> None:
        if opened.is_full:
            return
        if split not in self._most_objects:
            self._most_objects[split] = self._data.most_objects(split)
        entries = {f"features.{i}": part for i, part in enumerate(features)}
        entries |= {"geometry": batch["geometry"], **self._data.target.pack(batch, self._most_objects[split])}
        try:
            if not view.is_created and not opened.files.create(view, entries):
                needed = view.size * row_bytes(entries)
                why_not = (
                    f"they take {needed / GB:.3g} GB a view, more than "
                    f"finetune.cache_size_gb ({self.max_gb:g}) or the disk has room for"
                )
            else:
                view.write(batch["index"], entries)
                return
        except OSError as error:
            why_not = _cannot_write(error)
        opened.is_full = True
        print(f"{opened.phase.cached} are not cached: {why_not}", flush=True)

    def _find_placeholder(self, last: nn.Module) -> Tensor:
        """See `visiontasks.finetuning.feature_injection.find_placeholder`; tested with noise of the images' size.

        Raises:
            InputError: If the network cannot be run from the module on.
        """
        task = self._task
        if task.is_compiled or is_compiled(self._backbone):
            raise InputError("a compiled network runs as a whole")
        if self._data.resize == "keep":
            raise InputError("images differ in size")
        noise = torch.Generator().manual_seed(0)
        image = torch.randint(256, (3, 3, *self._data.image_size), generator=noise, dtype=torch.uint8).to(task.device)
        modes = {module: module.training for module in task.modules()}
        task.eval()
        try:
            with self._trainer.precision_plugin.forward_context():
                return find_placeholder(task.image_features, last, image)
        finally:
            for module, mode in modes.items():
                module.training = mode


class _Opened:
    """The files of a phase, and where its features are injected."""

    def __init__(self, phase: Frozen, files: FeatureFiles, placeholder: Tensor | None) -> None:
        self.phase = phase
        self.files = files
        self.is_full = False
        """Whether the disk or the limit is full; cached rows are used until the epoch's end, which may rely on them."""
        self.is_damaged = False
        """Whether stored rows could not be read again."""
        self._placeholder = placeholder
        self._injection = None if phase.last is None else FeatureInjection(phase.last)

    def inject(self, batch: Batch, features: tuple[Tensor, ...]) -> None:
        """Put known features into a batch."""
        if self._injection is None or self._placeholder is None:
            batch["features"] = features
            return
        (self._injection.injected,) = features
        batch["image"] = self._placeholder.to(features[0].device)

    def record(self, wanted: bool) -> None:
        """Record the features of the next batch, or save the copy."""
        if self._injection is not None:
            self._injection.records = wanted

    def computed(self, batch: Batch) -> tuple[Tensor, ...] | None:
        """Features that were computed from a batch's images; None if they came from the cache."""
        if self._injection is None:
            features: tuple[Tensor, ...] | None = batch.get("features") if "image" in batch else None
            return features
        if self._injection.injected is not None:
            self._injection.injected = None
            return None
        return None if self._injection.output is None else (self._injection.output,)

    def compute(self, extract: Any, image: Tensor) -> tuple[Tensor, ...]:
        """The features of images, by a task's `image_features`."""
        features: tuple[Tensor, ...] = (
            extract(image) if self._injection is None else (self._injection.compute_output(extract, image),)
        )
        return features

    def close(self) -> None:
        """Release the lock on the files."""
        self.files.close()
        if self._injection is not None:
            self._injection.close()


def _about(trainer: Any, data: Any, backbone: nn.Module) -> dict[str, str]:
    """Whose features they are, for a list of what is cached."""
    cfg: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    name = ".".join(filter(None, [cfg.get("architecture"), cfg.get("tag")]))
    saved = getattr(trainer.checkpoint_callback, "dirpath", None)
    known = {
        "data": type(data).__name__,
        "root": getattr(data, "root", None) and Path(data.root).resolve(),
        "backbone": name or type(backbone).__name__,
        "run": saved and Path(saved).resolve().parent,
    }
    return {key: str(value) for key, value in known.items() if value}


def _itself(epoch: int) -> int:
    return epoch


def _cannot_write(error: OSError) -> str:
    folder = features_folder()
    return (
        f"{folder} cannot be written ({error.strerror or error}); free some space there, or set the environment "
        f"variable {FOLDER} to another folder"
    )


def _why_disabled(trainer: Trainer, module: LightningModule, data: Any) -> str:
    """Why features cannot be cached; empty if they can."""
    if sys.platform == "win32":
        return "Windows has no file locks"
    if not getattr(module, "has_fixed_features", False):
        return "the task mixes images, or measures masks at the size of each image"
    if not hasattr(data, "augmented_as"):
        return "the data module is not one of visiontasks"
    if trainer.world_size > 1:
        return "several processes"
    one_batch: Any = getattr(trainer, "fast_dev_run", False)
    limit: Any = trainer.limit_train_batches
    if one_batch or isinstance(limit, int) or limit != 1 or getattr(trainer, "overfit_batches", 0):
        return "an epoch is limited to a part of the images"
    return ""
