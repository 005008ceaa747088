"""From a split's source to batches: what a worker does with a sample, and how samples become a batch."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Self

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from visiontasks.data.sampler import Key
from visiontasks.data.sources import Source, in_memory
from visiontasks.data.transforms import Augmentation, Resize, resize_image
from visiontasks.errors import InputError

Batch = dict[str, Any]


class SplitDataset(Dataset[dict[str, Any]]):
    """A split's samples, augmented and resized.

    Args:
        source: The samples.
        size_px: Side of the resulting square images.
        resize: The resize policy.
        augmentation: Applied before the resize, if any.
    """

    def __init__(self, source: Source, size_px: int, resize: Resize, augmentation: Augmentation | None) -> None:
        self.source = source
        self.size_px = size_px
        self.resize: Resize = resize
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key | int) -> dict[str, Any]:
        """A sample by (epoch, index); by an index alone it is as in epoch 0."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        sample = self.source[index]
        image = sample["image"]
        if self.augmentation is not None:
            image = self.augmentation(image, epoch=epoch, index=index)
        return {**sample, "image": resize_image(image, self.size_px, self.resize), "index": index}


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stack samples into a batch.

    Args:
        samples: Dicts of `image` (H, W, 3) uint8, all of one size, and numbers or arrays of one shape.

    Returns:
        `image` (B, 3, H, W) uint8, which is channels-last in memory; all else stacked, integers as int64.
    """
    batch = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}
    batch["image"] = batch["image"].permute(0, 3, 1, 2)
    return batch


def chosen_workers(source: Source, *, accelerated: bool, processes: int = 1) -> int:
    """Loading processes for a source when the recipe does not say.

    With an accelerator all cores but one load, 16 at most. Without, the cores are the network's: images in
    memory are loaded in the main process, files by a quarter of the cores (at least one, none on a single
    core).

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


def init_worker(worker: int) -> None:
    """Give a worker one core: OpenCV would start a thread per core in each."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class Loader(DataLoader[Batch]):
    """A DataLoader whose workers' input errors arrive as raised, not with a traceback for a message."""

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
        except InputError as raised:
            kind = type(raised)
            message = str(raised).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2].strip()
            raised.__traceback__ = None
        # Now nothing holds the workers, and they end. Left to the garbage collector, each would take 5 s to end.
        self.batches = iter(())
        raise kind(message)
