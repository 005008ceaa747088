"""Epochs from kept features: what is frozen sees each sample once, what is trained as often as it is trained."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.finetune.feature_injection import Entrance, depends_on_place, find_stand_in
from visiontasks.finetune.feature_store import View, row_bytes
from visiontasks.finetune.features import FOLDER, GB, FeatureFiles, facts, features_folder, fingerprint

CacheFeatures = Literal["auto", "off"]
Batch = dict[str, Any]


@dataclass(frozen=True)
class Frozen:
    """Epochs in which the same part of a backbone is frozen.

    Args:
        first_epoch: The first, counted from 0.
        end_epoch: One past the last.
        modules: What is frozen, each without its children.
        last: The module from whose output what is trained goes on; None where the whole backbone is frozen.
        last_name: Its name.
    """

    first_epoch: int
    end_epoch: int
    modules: Sequence[nn.Module]
    last: nn.Module | None = None
    last_name: str = ""

    @property
    def kept(self) -> str:
        """What is kept, in words."""
        if self.last is None:
            return "features of frozen epochs"
        return f"outputs of {self.last_name} in epochs {self.first_epoch + 1}-{self.end_epoch}"


class FeatureCache:
    """Keeps what the frozen part of a backbone says of each sample, and gives it to what is trained.

    Needs a task with `has_fixed_features` that takes a batch's `features` in the place of `image`, and data that can be
    told by `augmented_as` that images are not needed. What is kept is what is trained on without a cache, to the last
    bit: `views` repeat also where nothing is kept, all is computed in the batches of the training itself, and where it
    is read again in another batch, it is tried first that an image's place in a batch changes nothing.

    While the whole backbone is frozen, a batch gets its features. While only the deepest stages are trained, the output
    of the deepest frozen one is kept, the network is entered behind it, and a batch gets a stand-in for its images.
    Such maps are large: those of training samples are kept only where `views` says that they are seen again, not for
    further runs alone, and none for a single epoch.

    Args:
        views: Augmented views of each sample, which later epochs with the same frozen part see again in turn; 0 for one
            in each epoch.
        most_gb: How large all that is kept may become.
    """

    def __init__(self, views: int, most_gb: float) -> None:
        if views < 0:
            raise InputError(f"finetune.cached_views must be 0 or more, got {views}")
        if not most_gb > 0:
            raise InputError(f"finetune.cache_size_gb must be above 0, got {most_gb}")
        self.views = views
        self.most_gb = most_gb
        self.notes: list[str] = []
        """What the plan says of it."""
        self._why_not = ""
        self._facts: list[Any] = []
        self._first_epoch: Callable[[int], int] = _itself
        self._trainer: Any = None
        self._data: Any = None
        self._task: Any = None
        self._backbone: Any = None
        self._phases: list[Frozen] = []
        self._stand_ins: dict[Frozen, Tensor] = {}
        self._place_matters: set[Frozen] = set()
        """Phases whose features depend on an image's place in its batch."""
        self._opened: _Opened | None = None
        self._most_objects: dict[str, int] = {}
        """Of each split, for which rows have room."""

    def begin(
        self, trainer: Trainer, module: LightningModule, backbone: nn.Module, first_epoch: Callable[[int], int]
    ) -> None:
        """Look at a training before a loader is made, and let views repeat; then `add` says what to keep.

        Args:
            trainer: About to train.
            module: The task.
            backbone: Its backbone.
            first_epoch: From an epoch to the first one in which the same part is frozen; itself if nothing is.
        """
        self.end()
        self.notes = []
        self._trainer, self._data = trainer, getattr(trainer, "datamodule", None)
        self._task, self._backbone = module, backbone
        self._first_epoch = first_epoch
        self._why_not = _why_not(trainer, module, self._data)
        self._facts = []
        if hasattr(self._data, "augmented_as"):
            self._data.augmented_as = self._augmented_as

    def add(self, phase: Frozen) -> None:
        """Keep what is frozen in a phase; nothing else of the backbone may require a gradient now."""
        if phase.last is not None and phase.end_epoch - phase.first_epoch == 1:
            return
        why_not = self._why_not
        if phase.last is not None and not why_not:
            try:
                self._stand_ins[phase] = self._find_stand_in(phase.last)
            except InputError as error:
                why_not = str(error)
        if why_not:
            self.notes.append(f"{phase.kept} are not kept: {why_not}")
            return
        self._phases.append(phase)
        if phase.last is not None:
            self.notes.append(f"{phase.kept} are kept{'' if self.views else ', of validation images only'}")
        elif kept := self._kept("train", phase.first_epoch):
            opened, view = kept
            how = "known already" if view.is_complete else "kept"
            self.notes.append(f"{phase.kept} are {how} in {opened.files.folder}")

    def fill(self, batch: Batch, split: str, epoch: int) -> None:
        """Give a batch without images what is known of its samples, or its images where that was damaged meanwhile."""
        kept = self._kept(split, epoch)
        if self._opened is not None:
            self._opened.listen(kept is not None)
        if kept is None or "image" in batch:
            return
        opened, view = kept
        known = view.rows(batch["index"])
        if known is None:
            if not opened.is_damaged:
                print(f"{opened.files.folder} was damaged during the training; computed again", flush=True)
            opened.is_damaged = True
            batch.update(self._batch(split, epoch, batch["index"].tolist()))
            return
        rows = {name: value.to(batch["index"].device) for name, value in known.items()}
        parts = [name for name in rows if name.startswith("features.")]
        opened.give(batch, tuple(rows.pop(f"features.{i}") for i in range(len(parts))))
        batch.update(self._data.target.unpack(rows), geometry=rows["geometry"])

    def keep(self, batch: Batch, split: str, epoch: int) -> None:
        """Keep what was computed for a batch."""
        kept = self._kept(split, epoch)
        features = kept and kept[0].said(batch)
        if kept and features and not (split == "train" and self._depends_on_place(*kept, batch["image"])):
            self._keep(*kept, batch, features, split)

    @torch.no_grad()
    def complete(self, epoch: int) -> None:
        """Compute what an epoch has left out at its end, in batches of the usual size."""
        kept = self._kept("train", epoch)
        if kept is not None and kept[1].is_created and not kept[0].is_full:
            self._complete(*kept, epoch)
        if self._opened is not None and self._opened.is_full:
            self._phases.remove(self._opened.phase)
            self._close()

    def end(self) -> None:
        """Close the files; from now on images are needed."""
        self._phases.clear()
        self._place_matters.clear()
        self._stand_ins.clear()
        self._most_objects.clear()
        self._close()
        if self._data is not None and hasattr(self._data, "augmented_as"):
            self._data.augmented_as = None
        self._trainer = self._data = self._task = self._backbone = None

    def _augmented_as(self, split: str, epoch: int) -> int | None:
        kept = self._kept(split, epoch)
        return None if kept is not None and kept[1].is_complete else self._seen_as(epoch)

    def _phase(self, epoch: int) -> Frozen | None:
        return next((phase for phase in self._phases if phase.first_epoch <= epoch < phase.end_epoch), None)

    def _seen_as(self, epoch: int) -> int:
        """The epoch as which an epoch augments, whether anything is kept or not."""
        if not self.views:
            return epoch
        first = self._first_epoch(epoch)
        return first + (epoch - first) % self.views

    def _repeats(self, phase: Frozen) -> bool:
        """Whether a phase sees a view again, and so in other batches."""
        return 0 < self.views < phase.end_epoch - phase.first_epoch

    def _keeps_train(self, phase: Frozen) -> bool:
        return phase not in self._place_matters and (phase.last is None or self.views > 0)

    def _depends_on_place(self, opened: "_Opened", view: View, image: Tensor) -> bool:
        """Whether features hold for their own batch only, and other epochs of the phase need them in others."""
        phase = opened.phase
        if view.is_created or opened.is_full or not self._repeats(phase):
            return False
        modules = () if self._task.is_compiled else phase.modules
        with self._trainer.precision_plugin.forward_context():
            if not depends_on_place(lambda image: opened.compute(self._task.seen, image), modules, image):
                return False
        self._place_matters.add(phase)
        print(
            f"{phase.kept} are not kept, but of validation images: for {len(image)} images in a batch their last "
            "digits depend on an image's place in it",
            flush=True,
        )
        return True

    def _batch(self, split: str, epoch: int, rows: Sequence[int]) -> Batch:
        """A batch of a split's samples as the training gets them in an epoch."""
        batch = self._data.batch(split, [(self._seen_as(epoch), row) for row in rows])
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
                features = opened.compute(self._task.seen, whole)
            self._keep(opened, view, batch, tuple(part[: len(rows)] for part in features), "train")

    def _kept(self, split: str, epoch: int) -> "tuple[_Opened, View] | None":
        """What is kept of a split as it is seen in an epoch; None where nothing is."""
        phase = self._phase(epoch)
        if phase is None or (split == "train" and not self._keeps_train(phase)):
            return None
        if self._opened is None or self._opened.phase is not phase:
            self._open(phase)
        if self._opened is None:
            return None
        name = f"train.{self._seen_as(epoch)}" if split == "train" else split
        return self._opened, self._opened.files.view(name, len(self._data.source(split)))

    def _open(self, phase: Frozen) -> None:
        self._close()
        self._facts = self._facts or facts(self._trainer, self._task, self._data)
        name = fingerprint(self._backbone, phase.modules, self._facts)
        try:
            files = FeatureFiles(name, int(self.most_gb * GB))
        except OSError as error:
            self._phases.remove(phase)
            print(f"{phase.kept} are not kept: {_cannot_write(error)}", flush=True)
            return
        if files.is_ours:
            self._opened = _Opened(phase, files, self._stand_ins.get(phase))
            return
        files.close()
        self._phases.remove(phase)
        print(f"{phase.kept} are not kept: another training is writing the same", flush=True)

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def _keep(self, opened: "_Opened", view: View, batch: Batch, features: tuple[Tensor, ...], split: str) -> None:
        if opened.is_full:
            return
        if split not in self._most_objects:
            self._most_objects[split] = self._data.target.most_objects(self._data.source(split))
        entries = {f"features.{i}": part for i, part in enumerate(features)}
        entries |= {"geometry": batch["geometry"], **self._data.target.pack(batch, self._most_objects[split])}
        try:
            if not view.is_created and not opened.files.create(view, entries):
                needed = view.size * row_bytes(entries)
                why_not = (
                    f"they take {needed / GB:.3g} GB a view, more than "
                    f"finetune.cache_size_gb ({self.most_gb:g}) or the disk has room for"
                )
            else:
                view.keep(batch["index"], entries)
                return
        except OSError as error:
            why_not = _cannot_write(error)
        opened.is_full = True
        print(f"{opened.phase.kept} are not kept: {why_not}", flush=True)

    def _find_stand_in(self, last: nn.Module) -> Tensor:
        """See `visiontasks.finetune.feature_injection.find_stand_in`; tried with noise of the images' size.

        Raises:
            InputError: If the network cannot be entered behind the module.
        """
        task = self._task
        if task.is_compiled or hasattr(self._backbone, "_orig_mod"):
            raise InputError("a compiled network runs as a whole")
        if self._data.resize == "keep":
            raise InputError("images differ in size")
        noise = torch.Generator().manual_seed(0)
        image = torch.randint(256, (3, 3, *self._data.image_size), generator=noise, dtype=torch.uint8).to(task.device)
        modes = {module: module.training for module in task.modules()}
        task.eval()
        try:
            with self._trainer.precision_plugin.forward_context():
                return find_stand_in(task.seen, last, image)
        finally:
            for module, mode in modes.items():
                module.training = mode


class _Opened:
    """The files of a phase, and where its network is entered."""

    def __init__(self, phase: Frozen, files: FeatureFiles, stand_in: Tensor | None) -> None:
        self.phase = phase
        self.files = files
        self.is_full = False
        """Whether there was no room; what is kept is used until the end of the epoch, which may count on it."""
        self.is_damaged = False
        """Whether rows that had been kept could not be read again."""
        self._stand_in = stand_in
        self._entrance = None if phase.last is None else Entrance(phase.last)

    def give(self, batch: Batch, features: tuple[Tensor, ...]) -> None:
        """Let a batch go on from what is known."""
        if self._entrance is None or self._stand_in is None:
            batch["features"] = features
            return
        (self._entrance.given,) = features
        batch["image"] = self._stand_in.to(features[0].device)

    def listen(self, wanted: bool) -> None:
        """Note what is computed for the next batch, or spare the copy."""
        if self._entrance is not None:
            self._entrance.listens = wanted

    def said(self, batch: Batch) -> tuple[Tensor, ...] | None:
        """What was computed behind a batch's images; None if it was given."""
        if self._entrance is None:
            features: tuple[Tensor, ...] | None = batch.get("features") if "image" in batch else None
            return features
        if self._entrance.given is not None:
            self._entrance.given = None
            return None
        return None if self._entrance.said is None else (self._entrance.said,)

    def compute(self, seen: Any, image: Tensor) -> tuple[Tensor, ...]:
        """What is kept of images, by a task's `seen`."""
        features: tuple[Tensor, ...] = seen(image) if self._entrance is None else (self._entrance.reach(seen, image),)
        return features

    def close(self) -> None:
        """Let others write."""
        self.files.close()
        if self._entrance is not None:
            self._entrance.close()


def _itself(epoch: int) -> int:
    return epoch


def _cannot_write(error: OSError) -> str:
    folder = features_folder()
    return (
        f"{folder} cannot be written ({error.strerror or error}); make room there, or name another folder by the "
        f"environment variable {FOLDER}"
    )


def _why_not(trainer: Trainer, module: LightningModule, data: Any) -> str:
    """Why features cannot be kept; empty if they can."""
    if sys.platform == "win32":
        return "Windows has no file locks"
    if not getattr(module, "has_fixed_features", False):
        return "the task sees mixed images, or needs more than a vector of each"
    if not hasattr(data, "augmented_as"):
        return "the data is none of this package's"
    if trainer.world_size > 1:
        return "several processes"
    one_batch: Any = getattr(trainer, "fast_dev_run", False)
    limit: Any = trainer.limit_train_batches
    if one_batch or isinstance(limit, int) or limit != 1 or getattr(trainer, "overfit_batches", 0):
        return "an epoch is only a part of the images"
    return ""
