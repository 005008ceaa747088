"""From a split's source to batches: what a worker does with a sample, and how samples become a batch."""

import atexit
import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visiontasks.cores import available_cores
from visiontasks.data.pipeline.memory import ImageMemory
from visiontasks.data.pipeline.sampler import Key
from visiontasks.data.pipeline.shared_memory import LoadingProcessError, describe_lost_worker, share, unusable
from visiontasks.data.pipeline.sources import Source, annotation, in_memory
from visiontasks.data.pipeline.target import Batch, Target
from visiontasks.data.pipeline.transforms import Augmentation, Others
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Resize, Size, place


class SplitDataset(Dataset[dict[str, Any]]):
    """A split's samples, augmented and resized.

    Args:
        source: The samples.
        size: Height and width of the resulting images.
        resize: The resize policy.
        augmentation: Applied before the resize, if any.
        target: What the samples are annotated with.
        training: Whether annotations are for training; else nothing is cut from them.
        memory: Cache of the images before the augmentation; without augmentation, after the resize.
        sizes: Height and width by epoch, to which samples of `size` are scaled with their annotation; later epochs have
            `size`.
    """

    def __init__(
        self,
        source: Source,
        size: Size,
        resize: Resize,
        augmentation: Augmentation | None,
        *,
        target: Target,
        training: bool,
        memory: ImageMemory | None = None,
        sizes: Sequence[Size] = (),
    ) -> None:
        self.source = source
        self.size = size
        self.resize: Resize = resize
        self.augmentation = augmentation
        self.target = target
        self.training = training
        self.memory = memory
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key | int) -> dict[str, Any]:
        """A sample by (epoch, index); by an index alone it is as in epoch 0; without an epoch it is its index alone."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if epoch is None:
            return {"index": index}
        sample, size = self._prepared(index)
        image = sample["image"]
        if self.augmentation is not None:
            others = Others(len(self.source), lambda row: self._prepared(row)[0])
            sample = self.augmentation(sample, epoch=epoch, index=index, others=others)
            image = sample["image"]
            size = image.shape[0], image.shape[1]
        geometry = place(size, self.size, self.resize)
        if self.training and geometry.target != self.size:
            raise InputError(
                f"data.init_args.resize: keep, but training image {index} has {size[1]}x{size[0]} pixels "
                f"behind augment, expected {self.size[1]}x{self.size[0]} (image_size): let augment end with a "
                "RandomCrop of that size (pad_if_needed: true)"
            )
        image = image if self.augmentation is None else geometry.image(image)
        sample |= {"image": image, "index": index, "geometry": geometry.row()}
        sample = self.target.place(sample, geometry, training=self.training)
        return self._scaled(sample, self.sizes[epoch]) if epoch < len(self.sizes) else sample

    def collate(self, samples: Sequence[Mapping[str, Any]]) -> Batch:
        """Make samples of this dataset a batch: `collate`'s entries and those of the target."""
        batch = collate(samples)
        return batch | self.target.collate(samples, training=self.training) if "image" in batch else batch

    def _scaled(self, sample: dict[str, Any], size: Size) -> dict[str, Any]:
        """A sample of `self.size` at another one; augmented as the full one, so that it shows the same."""
        if size == self.size:
            return sample
        geometry = place(self.size, size, "squash")
        scaled = {**sample, "image": geometry.image(sample["image"]), "geometry": geometry.row()}
        return self.target.place(scaled, geometry, training=self.training)

    def _prepared(self, index: int) -> tuple[dict[str, Any], Size]:
        """All of a sample that is the same in each epoch, and its image's size before a resize."""
        known = self.memory.get(index) if self.memory is not None else None
        if known is not None:
            return {"image": known[0], **annotation(self.source, index)}, known[1]
        sample: dict[str, Any] = {**self.source[index]}
        # By the full size, so that an image that is decoded smaller is scaled and cropped as the whole one.
        size: Size = sample.pop("full_size", sample["image"].shape[:2])
        if self.augmentation is None:
            sample["image"] = place(size, self.size, self.resize).image(sample["image"])
        if self.memory is not None:
            self.memory.store(index, sample["image"], size)
        return sample, size


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Stack what all samples have, whatever their target.

    Args:
        samples: Dicts of `image` (H, W, 3) uint8, all of one size, `index` and `geometry`, as far as they are there.

    Returns:
        `image` uint8 (B, 3, H, W), which is channels-last in memory, `index` int64 (B,), `geometry` int64 (B, 8).
    """
    keys = [key for key in ("image", "index", "geometry") if key in samples[0]]
    batch = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in keys}
    if "image" in batch:
        batch["image"] = batch["image"].permute(0, 3, 1, 2)
    return batch


@dataclass(frozen=True, eq=False)
class _Joined:
    """A list of tensors as one, as which a loading process hands it over: each tensor takes a file descriptor."""

    values: Tensor
    shapes: Sequence[torch.Size]

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> "_Joined":
        return cls(torch.cat([part.reshape(-1) for part in parts]), [part.shape for part in parts])

    def parts(self) -> list[Tensor]:
        parts = torch.split(self.values, [shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def pin_memory(self) -> "_Joined":
        """Called by a DataLoader's thread for objects that are not collections of tensors."""
        return replace(self, values=self.values.pin_memory())


class _Sender:
    """Collates in a loading process."""

    def __init__(self, dataset: SplitDataset) -> None:
        self.dataset = dataset

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> Batch:
        batch = self.dataset.collate(samples)
        joined = {key: _Joined.of(value) if isinstance(value, list) else value for key, value in batch.items()}
        share([value.values if isinstance(value, _Joined) else value for value in joined.values()])
        return joined


def chosen_workers(source: Source, *, accelerated: bool, processes: int = 1) -> int:
    """Loading processes for a source where the recipe does not set them.

    With an accelerator all cores but one load, 16 at most. Without, the cores are the network's: images in
    memory are loaded in the main process, files by a quarter of the cores, on fewer than four in the main process.

    Args:
        source: The samples.
        accelerated: Whether the network runs elsewhere than on the cores.
        processes: Training processes that share this machine.
    """
    cores = available_cores() // processes
    if accelerated:
        return max(0, min(16, cores - 1))
    return 0 if in_memory(source) else cores // 4


def init_worker(worker: int) -> None:
    """Give a worker one core: OpenCV would start a thread per core in each.

    Signals that go to all processes of a terminal or a job are the main process's to answer, which still needs data
    then. A worker ends with it. A bus error ends it without torch's own line: the main process explains it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(signal, "SIGBUS"):  # not on Windows
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def end_workers() -> None:
    """End the loading processes that are left when this process ends.

    An error can leave idle ones behind. They ignore SIGTERM, and multiprocessing sends that and waits without end.
    """
    workers = [process for process in multiprocessing.active_children() if process.daemon]
    if workers and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise an error for each
    for process in workers:
        process.kill()


atexit.register(end_workers)  # multiprocessing's own is registered already, and comes later therefore


class Loader(DataLoader[Batch]):
    """A DataLoader of a `SplitDataset` whose workers' input errors arrive as raised, not with a traceback.

    Args:
        dataset: The samples, which it collates.
        options: Arguments of DataLoader.

    Raises:
        InputError: As a worker raised it, or because a worker cannot be started, or ended before its time.
    """

    def __init__(self, dataset: SplitDataset, **options: Any) -> None:
        collate_fn = _Sender(dataset) if options.get("num_workers") else dataset.collate
        super().__init__(dataset, collate_fn=collate_fn, worker_init_fn=init_worker, **options)

    def __iter__(self) -> "_Batches":  # type: ignore[override]
        try:
            return _Batches(super().__iter__())
        except OSError as error:  # no semaphore, which lies in shared memory too, or no process
            if not self.num_workers:
                raise
            raise LoadingProcessError(unusable(error)) from error


class _Batches:
    def __init__(self, batches: Iterator[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        kind: type[InputError] = LoadingProcessError
        try:
            batch = next(self.batches)
            return {key: value.parts() if isinstance(value, _Joined) else value for key, value in batch.items()}
        except InputError as raised:
            kind = type(raised)
            message = str(raised).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2].strip()
            raised.__traceback__ = None
        except (ConnectionError, EOFError, RuntimeError) as raised:
            message = describe_lost_worker(raised)
            if not message:
                raise
        # Now nothing holds the workers, and they end. Left to the garbage collector, each would take 5 s to end.
        self.batches = iter(())
        raise kind(message)
