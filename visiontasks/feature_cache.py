"""Frozen epochs from kept features: the backbone sees each sample once, the head as often as it is trained."""

from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from visiontasks.errors import InputError
from visiontasks.features import GB, FeatureFiles, View, fingerprint, row_bytes

CacheFeatures = Literal["auto", "off"]
Batch = dict[str, Any]


class FeatureCache:
    """Keeps what a frozen backbone says of each sample in the first epochs of a training, and gives it to the head.

    Needs a task with `has_fixed_features` that takes a batch's `features` in the place of `image`, and data that can be
    told by `augmented_as` that images are not needed. Features are computed in the batches of the training itself, so
    that what is kept is what the head is trained on without a cache, to the last bit.

    Args:
        views: Augmented views of each sample, which later frozen epochs see again in turn; 0 for one in each epoch.
        most_gb: How large all kept features may become.
    """

    def __init__(self, views: int, most_gb: float) -> None:
        if views < 0:
            raise InputError(f"finetune.cached_views must be 0 or more, got {views}")
        if not most_gb > 0:
            raise InputError(f"finetune.cache_size_gb must be above 0, got {most_gb}")
        self.views = views
        self.most_gb = most_gb
        self.note = ""
        """What the plan says of it."""
        self._epochs = 0
        self._files: FeatureFiles | None = None
        self._data: Any = None

    def begin(self, trainer: Trainer, module: LightningModule, backbone: torch.nn.Module, frozen_epochs: int) -> None:
        """Open the files, before a loader is made.

        Args:
            trainer: About to train.
            module: The task.
            backbone: Its backbone, frozen.
            frozen_epochs: Epochs from the first on in which nothing of it is trained.
        """
        self.end()
        self._epochs, self._data = frozen_epochs, getattr(trainer, "datamodule", None)
        why_not = _why_not(trainer, module, self._data)
        if not frozen_epochs or why_not:
            self.note = f"features of frozen epochs are not kept: {why_not}" if frozen_epochs else ""
            return
        facts = [self._data.fingerprint("train"), self._data.fingerprint("val"), getattr(module, "in_chans", None)]
        facts += [trainer.precision, torch.__version__, torch.get_num_threads(), str(trainer.strategy.root_device)]
        facts += [buffer.tolist() for name, buffer in module.named_buffers() if name in ("mean", "std")]
        files = FeatureFiles(fingerprint(backbone, facts), int(self.most_gb * GB))
        if not files.is_ours:
            files.close()
            self.note = "features of frozen epochs are not kept: another training is writing the same"
            return
        self._files = files
        self._data.augmented_as = self._augmented_as
        ready = self._view("train", 0).is_complete
        self.note = f"features of frozen epochs are {'known already' if ready else 'kept'} in {files.folder}"

    def fill(self, batch: Batch, split: str, epoch: int) -> None:
        """Give a batch without images its features, and all else that belongs to its samples."""
        if self._files is None or "image" in batch or epoch >= self._epochs:
            return
        rows = {
            name: value.to(batch["index"].device)
            for name, value in self._view(split, epoch).rows(batch["index"]).items()
        }
        parts = [name for name in rows if name.startswith("features.")]
        batch["features"] = tuple(rows.pop(f"features.{i}") for i in range(len(parts)))
        batch.update(rows)

    def keep(self, batch: Batch, split: str, epoch: int) -> None:
        """Keep the features that a batch has got."""
        if self._files is None or "image" not in batch or "features" not in batch or epoch >= self._epochs:
            return
        entries = {f"features.{i}": part for i, part in enumerate(batch["features"])}
        entries |= {name: v for name, v in batch.items() if isinstance(v, Tensor) and name not in ("image", "index")}
        view = self._view(split, epoch)
        if not view.is_created:
            if not self._files.has_room(view.size * row_bytes(entries)):
                self._give_up(view.size * row_bytes(entries))
                return
            view.create(entries)
        view.keep(batch["index"], entries)

    @torch.no_grad()
    def complete(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        """Compute what an epoch has left out at its end, in batches of the usual size."""
        if self._files is None or epoch >= self._epochs:
            return
        view, size = self._view("train", epoch), self._data.batch_size
        missing = view.missing() if view.is_created else []
        for first in range(0, len(missing), size):
            rows = missing[first : first + size]
            batch = self._data.batch("train", [(self._seen_as(epoch), row) for row in rows])
            batch = trainer.strategy.batch_to_device(batch)
            image = batch["image"]
            whole = torch.cat([image, image[:1].expand(size - len(rows), *image.shape[1:])])
            task: Any = module
            with trainer.precision_plugin.forward_context():
                features = task.seen(whole)
            self.keep({**batch, "features": tuple(part[: len(rows)] for part in features)}, "train", epoch)

    def end(self) -> None:
        """Close the files; from now on images are needed."""
        if self._data is not None and hasattr(self._data, "augmented_as"):
            self._data.augmented_as = None
        if self._files is not None:
            self._files.close()
        self._files = None

    def _seen_as(self, epoch: int) -> int:
        return epoch % self.views if self.views else epoch

    def _augmented_as(self, split: str, epoch: int) -> int | None:
        if self._files is None or epoch >= self._epochs:
            return epoch
        if self._view(split, epoch).is_complete:
            return None
        return self._seen_as(epoch) if split == "train" else 0

    def _view(self, split: str, epoch: int) -> View:
        assert self._files is not None
        name = f"train.{self._seen_as(epoch)}" if split == "train" else split
        return self._files.view(name, len(self._data.source(split)))

    def _give_up(self, needed: int) -> None:
        print(
            f"features of frozen epochs are not kept: they take {needed / GB:.3g} GB a view, more than "
            f"finetune.cache_size_gb ({self.most_gb:g}) or the disk has room for",
            flush=True,
        )
        self.end()


def _why_not(trainer: Trainer, module: LightningModule, data: Any) -> str:
    """Why features cannot be kept; empty if they can."""
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
