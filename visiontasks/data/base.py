"""The DataModule of all datasets: splits, loaders, exact resume, and the checks that come before training."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Self

import cv2
import numpy as np
import torch
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visiontasks.data.sampler import EvalSampler, Key, TrainBatchSampler
from visiontasks.data.sources import Source, in_memory
from visiontasks.data.transforms import Augmentation, Resize, resize_image
from visiontasks.errors import InputError, MissingFileError

Batch = dict[str, Any]


class DataModule(LightningDataModule):
    """Images with targets in up to three splits, as batches of the contract in the package's documentation.

    A subclass gives `class_names` (known at construction), `load_sources()` and, where it downloads, `prepare_data()`.
    """

    class_names: list[str]
    """Names of the classes; a label is the position in this list."""

    def __init__(
        self,
        *,
        image_size: int = 224,
        batch_size: int = 32,
        resize: Resize = "crop",
        augment: list[BasicTransform | BaseCompose] | None = None,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        """Set what all datasets have in common.

        Args:
            image_size: Side in pixels of the square images in a batch.
            batch_size: Images per batch and process.
            resize: How an image gets that size, in every split: `crop` (shorter side to it, middle taken), `squash`
                (shape not kept) or `letterbox` (longer side to it, padded).
            augment: albumentations transforms for training images, before the resize.
            num_workers: Loading processes. Default: chosen from the cores and the source, see `chosen_workers`.
            seed: Seed of order and augmentation. Splits have their own (`split_seed`).

        Raises:
            InputError: If a value is out of range, or a transform normalizes.
        """
        super().__init__()
        for key, value, least in (("image_size", image_size, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
            if value < least:
                raise InputError(f"data.init_args.{key}: {value}, expected at least {least}")
        if num_workers is not None and num_workers < 0:
            raise InputError(f"data.init_args.num_workers: {num_workers}, expected 0 or more, or null to have it chosen")
        self.image_size = image_size
        self.batch_size = batch_size
        self.resize: Resize = resize
        self.augmentation = Augmentation(augment, seed=seed) if augment else None
        self.num_workers = num_workers
        self.seed = seed
        self._sources: dict[str, Source] = {}

    def load_sources(self) -> dict[str, Source]:
        """Open the splits: `train`, `val` and `test`; one that the dataset lacks is left out."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> list[int]:
        """Images of each class in the training split; opens the dataset if need be."""
        if not self._sources:
            self.prepare_data()
            self.setup()
        return np.bincount(self.source("train").labels, minlength=self.num_classes).tolist()

    @property
    def split_sizes(self) -> dict[str, int]:
        """Images in each split that there is; after `setup()`."""
        return {name: len(source) for name, source in self._sources.items()}

    def source(self, split: str) -> Source:
        """The untransformed samples of a split; after `setup()`.

        Raises:
            InputError: If the dataset has no such split.
        """
        if split not in self._sources:
            raise InputError(
                f"{type(self).__name__} has no {split} split here, it has: {', '.join(self._sources) or 'none'}; "
                "evaluate one of these (--split), or point data.init_args.root at a dataset that has it"
            )
        return self._sources[split]

    def setup(self, stage: str | None = None) -> None:
        """Open and check the splits, once.

        Raises:
            InputError: If images, classes or labels are not as training or evaluation needs them.
        """
        if not self._sources:
            sources = self.load_sources()
            _check_sources(sources, self.class_names)
            self._sources = sources
        if stage == "fit":
            self._check_training()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, augmented batches of the training split, from where the attached trainer stands."""
        self._check_training()
        rank, world_size = self._place()
        sampler = TrainBatchSampler(
            len(self.source("train")),
            self.batch_size,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            position=self._position if self.trainer else None,
            same_order=bool(self.trainer and self.trainer.overfit_batches),
        )
        return _Loader(self._dataset("train"), batch_sampler=sampler, **self._loader_options("train"))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image once, in order, over all processes."""
        return self._eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Every test image once, in order, over all processes."""
        return self._eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as the test loader."""
        return self._eval_dataloader("test")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data: the names of the classes."""
        return {"class_names": list(self.class_names)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that the data has the classes, in the order, that the checkpoint was trained on.

        Raises:
            InputError: If it has not.
        """
        trained, found = list(state_dict["class_names"]), list(self.class_names)
        if trained == found:
            return
        missing = [name for name in trained if name not in found]
        surplus = [name for name in found if name not in trained]
        difference = f"missing here: {missing}, not in the checkpoint: {surplus}" if missing or surplus else "another order"
        raise InputError(
            f"the checkpoint was trained on {len(trained)} classes {_shortened(trained)}, {type(self).__name__} has {len(found)} "
            f"{_shortened(found)} ({difference}); use the data it was trained on, or data with the same class names"
        )

    def _eval_dataloader(self, split: str) -> DataLoader[Batch]:
        rank, world_size = self._place()
        size = len(self.source(split))
        if size < world_size:
            raise InputError(
                f"the {split} split has {size} image(s) for {world_size} processes, expected one for each at least; "
                "use fewer processes (trainer.devices)"
            )
        sampler = EvalSampler(size, rank=rank, world_size=world_size)
        options = self._loader_options(split)
        return _Loader(self._dataset(split), sampler=sampler, batch_size=self.batch_size, **options)

    def _dataset(self, split: str) -> "SplitDataset":
        augmentation = self.augmentation if split == "train" else None
        return SplitDataset(self.source(split), self.image_size, self.resize, augmentation)

    def _loader_options(self, split: str) -> dict[str, Any]:
        accelerated = self.trainer is not None and self.trainer.strategy.root_device.type != "cpu"
        workers = self.num_workers
        if workers is None:
            processes = self._place()[1] // self.trainer.num_nodes if self.trainer else 1
            workers = chosen_workers(self.source(split), accelerated=accelerated, processes=processes)
        return {
            "num_workers": workers,
            "collate_fn": collate,
            "pin_memory": accelerated,
            "persistent_workers": workers > 0 and split != "test",
            "worker_init_fn": _init_worker,
        }

    def _place(self) -> tuple[int, int]:
        """This process's rank and the number of processes."""
        if self.trainer is None:
            return 0, 1
        if self.trainer.world_size > 1 and self.trainer._accelerator_connector.use_distributed_sampler:
            raise InputError(
                "trainer.use_distributed_sampler is true: Lightning would pad the evaluation with repeated images and "
                "replace the sampler; set trainer.use_distributed_sampler: false (in Python, Trainer(use_distributed_sampler=False))"
            )
        return self.trainer.global_rank, self.trainer.world_size

    def _position(self) -> tuple[int, int]:
        """Epoch and finished batches of it at which the attached trainer's next training iterator has to start.

        Read from the loops' progress, which a checkpoint restores: `trainer.current_epoch` is one behind while resuming.
        """
        assert self.trainer is not None
        epochs = self.trainer.fit_loop.epoch_progress.current
        batches = self.trainer.fit_loop.epoch_loop.batch_progress
        if epochs.started == epochs.processed:  # between two epochs
            return epochs.processed, 0
        if batches.is_last_batch:  # killed after an epoch's last batch: Lightning goes on with the next, by this iterator
            return epochs.processed + 1, 0
        return epochs.processed, batches.current.ready

    def _check_training(self) -> None:
        world_size = self._place()[1]
        if "train" not in self._sources:
            self.source("train")
        size = len(self._sources["train"])
        if size < self.batch_size * world_size:
            processes = f" in each of {world_size} processes" if world_size > 1 else ""
            raise InputError(
                f"data.init_args.batch_size: {self.batch_size}{processes}, but the training split has {size} images; expected "
                f"at most {size // world_size}"
            )


class SplitDataset(Dataset[dict[str, Any]]):
    """A split's samples, augmented and resized. An item is asked for by (epoch, index)."""

    def __init__(self, source: Source, size_px: int, resize: Resize, augmentation: Augmentation | None) -> None:
        """Join a source with what is done to its images.

        Args:
            source: The samples.
            size_px: Side of the resulting square images.
            resize: The resize policy.
            augmentation: Applied before the resize, if any.
        """
        self.source = source
        self.size_px = size_px
        self.resize: Resize = resize
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key
        sample = self.source[index]
        image = sample["image"]
        if self.augmentation is not None:
            image = self.augmentation(image, epoch=epoch, index=index)
        return {**sample, "image": resize_image(image, self.size_px, self.resize), "index": index}


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stack samples into a batch.

    Args:
        samples: Dicts with `image` (H, W, 3) uint8 of one size, and numbers or arrays of one shape.

    Returns:
        `image` (B, 3, H, W) uint8, in channels-last memory without a copy; all else stacked, integers as int64.
    """
    batch: Batch = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}
    image: Tensor = batch["image"]
    batch["image"] = image.permute(0, 3, 1, 2)
    return batch


def chosen_workers(source: Source, *, accelerated: bool, processes: int = 1) -> int:
    """Loading processes for a source when the recipe does not say.

    Without an accelerator the cores are the network's: images in memory are loaded in the main process, files by a quarter
    of the cores (one at least, none on a single core). With one, all cores but one load, 16 at most.

    Args:
        source: The samples.
        accelerated: Whether the network runs elsewhere than on the cores.
        processes: Training processes that share this machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores //= processes
    if accelerated:
        return max(0, min(16, cores - 1))
    if in_memory(source) or cores < 2:
        return 0
    return max(1, cores // 4)


def _check_sources(sources: dict[str, Source], class_names: Sequence[str]) -> None:
    if len(class_names) < 2:
        raise InputError(
            f"data.init_args.root: {len(class_names)} class(es) found {_shortened(class_names)}, expected at least 2 to tell apart"
        )
    for split, source in sources.items():
        if len(source) == 0:
            raise InputError(f"data.init_args.root: no images in the {split} split, expected some")
        low, high = int(source.labels.min()), int(source.labels.max())
        if low < 0 or high >= len(class_names):
            raise InputError(
                f"data.init_args.root: labels from {low} to {high} in the {split} split, expected 0 to {len(class_names) - 1} "
                f"for {len(class_names)} classes"
            )
    if "train" in sources:
        counts = np.bincount(sources["train"].labels, minlength=len(class_names))
        empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
        if empty:
            raise InputError(f"data.init_args.root: no training images of {_shortened(empty)}; add some, or remove the class")


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return f"({shown}, ...)" if len(names) > 10 else f"({shown})"


def _init_worker(worker: int) -> None:
    # One core each: OpenCV would start a thread per core in every worker.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class _Loader(DataLoader[Batch]):
    """A DataLoader whose workers' input errors arrive as they were raised, without the worker's traceback as their text."""

    def __iter__(self) -> "_Batches":  # type: ignore[override]
        return _Batches(super().__iter__())


class _Batches:
    def __init__(self, batches: Iterator[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        try:
            return next(self.batches)
        except InputError as error:
            text = str(error)
            for kind in (InputError, MissingFileError):
                _, found, message = text.rpartition(f"{kind.__module__}.{kind.__qualname__}: ")
                if found:
                    raise kind(message.strip()) from None
            raise
