"""The features of all images of a dataset: a frozen backbone computes them once, and later studies read them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from visiontasks.data import DataModule
from visiontasks.data.pipeline.duplicates import (
    LEAST_SIDE_PX,
    THUMBNAIL_PX,
    UInt64Array,
    near_groups,
    thumbnail_and_hash,
)
from visiontasks.data.pipeline.loader import Loader, SplitDataset, chosen_workers
from visiontasks.data.pipeline.reduction import reduction
from visiontasks.data.pipeline.sources import Int64Array, fingerprint, reduced, sample_path
from visiontasks.errors import InputError
from visiontasks.finetuning.feature_store import View
from visiontasks.finetuning.features import FeatureFiles
from visiontasks.outputs.base import Float32Array, UInt8Array
from visiontasks.outputs.geometry import Size
from visiontasks.study.extractors import BATCH_SIZE, Extractor, open_files, pretrained, store_rows

SPLITS = ("train", "val", "test")
TIMED = 8
"""Images of the batch by which `milliseconds` measures."""
OnImages = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Features:
    """Features of n images, and what is known of each.

    Args:
        vectors: Of the frozen backbone, (n, D).
        labels: Class indices, (n,).
        splits: The split of each image, (n,).
        rows: Its row there, (n,).
        files: Its file; empty for one that comes from no file.
        groups: Equal for near duplicates, (n,); an image without any has its own number.
        class_names: By class index.
        hashes: pHash of each image, by which near duplicates are found, (n,); 0 for one that is too small for it.
        thumbnails: (n, 16, 16).
    """

    vectors: Float32Array
    labels: Int64Array
    splits: np.ndarray[Any, np.dtype[np.str_]]
    rows: Int64Array
    files: Sequence[str]
    groups: Int64Array
    class_names: Sequence[str]
    hashes: UInt64Array | None = None
    thumbnails: UInt8Array | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> list[str]:
        """Of each image, for tables and pages: its file, or its split and row."""
        return [file or f"{split} {row}" for file, split, row in zip(self.files, self.splits, self.rows, strict=True)]

    def select(self, chosen: Any) -> "Features":
        """Those of some images, by a mask or indices."""
        at = np.arange(len(self))[chosen]
        return Features(
            vectors=self.vectors[at],
            labels=self.labels[at],
            splits=self.splits[at],
            rows=self.rows[at],
            files=[self.files[i] for i in at],
            groups=self.groups[at],
            class_names=self.class_names,
            hashes=None if self.hashes is None else self.hashes[at],
            thumbnails=None if self.thumbnails is None else self.thumbnails[at],
        )


def image_features(
    data: DataModule,
    network: nn.Module | Extractor,
    *,
    splits: Sequence[str] = SPLITS,
    on_images: OnImages | None = None,
) -> Features:
    """Features of the images of some splits as an evaluation sees them: resized, not augmented; in float32 on the CPU.

    They are stored with those of trainings, by everything they depend on, and read from there the next time; where
    files cannot be stored they are computed anew.

    Args:
        data: After `setup()`; each image has one class.
        network: The vector view of a backbone, which is put into eval mode; or one of another kind.
        splits: Which; those that the data does not have are left out.
        on_images: Is told images that are done and all images.

    Raises:
        InputError: If images have no single class, or differ in size.
    """
    if data.target.name != "label":
        raise InputError(
            f"a study needs images with one class each, but {type(data).__name__} has {data.target.plural}: name a "
            "folder of class folders"
        )
    if data.resize == "keep":
        raise InputError(
            "data.init_args.resize: keep, but a study needs images of one size: expected crop or letterbox"
        )
    extractor = network if isinstance(network, Extractor) else pretrained(network)
    known = [split for split in splits if split in data.split_sizes]
    total, done = sum(data.split_sizes[split] for split in known), 0
    about = {"data": type(data).__name__, "root": str(getattr(data, "root", ""))}
    files = open_files(extractor, _facts(data, known), about)
    parts: list[dict[str, Tensor]] = []
    try:
        for split in known:
            source = data.source(split)
            view = None if files is None else files.view(f"study.{split}", len(source))
            report = None if on_images is None else _offset(on_images, done, total)
            parts.append(_split_features(data, split, extractor, files, view, report))
            done += len(source)
    finally:
        if files is not None:
            files.close()
    whole = {key: torch.cat([part[key] for part in parts]).numpy() for key in parts[0]}
    sources = [data.source(split) for split in known]
    hashes = whole["hash"].view(np.uint64)
    return Features(
        vectors=whole["features"].astype(np.float32, copy=False),
        labels=np.concatenate([source.labels for source in sources]),
        splits=np.concatenate([np.full(len(source), split) for split, source in zip(known, sources, strict=True)]),
        rows=np.concatenate([np.arange(len(source)) for source in sources]),
        files=[sample_path(source, row) for source in sources for row in range(len(source))],
        groups=near_groups(hashes, whole["thumbnail"]),
        class_names=list(data.class_names),
        hashes=hashes,
        thumbnails=whole["thumbnail"],
    )


@torch.inference_mode()
def milliseconds(data: DataModule, backbone: nn.Module) -> float:
    """Time of the network for one image on this machine now: the least of 3 batches of 8, in float32."""
    noise = torch.Generator().manual_seed(0)
    image = torch.randint(256, (TIMED, 3, *data.image_size), generator=noise, dtype=torch.uint8)
    forward = pretrained(backbone).vectors
    taken = []
    for _ in range(4):  # the first chooses kernels
        start = perf_counter()
        forward(image)
        taken.append(perf_counter() - start)
    return 1000 * min(taken[1:]) / TIMED


def recognized(images: Sequence[UInt8Array], sizes: Sequence[Size]) -> dict[str, Tensor]:
    """What near duplicates are recognized by, as rows of a cache: `hash`, 0 of an image too small, and `thumbnail`.

    Args:
        images: Resized, RGB (H, W, 3), B of them.
        sizes: Height and width of the originals.
    """
    found = [
        thumbnail_and_hash(np.ascontiguousarray(image))
        if min(size) >= LEAST_SIDE_PX
        else (np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8), 0)
        for image, size in zip(images, sizes, strict=True)
    ]
    hashes = np.array([each for _, each in found], dtype=np.uint64).view(np.int64)
    return {"thumbnail": torch.from_numpy(np.stack([each for each, _ in found])), "hash": torch.from_numpy(hashes)}


@torch.inference_mode()
def _split_features(
    data: DataModule,
    split: str,
    extractor: Extractor,
    files: FeatureFiles | None,
    view: View | None,
    on_images: OnImages | None,
) -> dict[str, Tensor]:
    source = data.source(split)
    if view is not None and view.is_complete:
        stored = view.rows(torch.arange(len(source)))
        if stored is not None:
            return stored
    source = reduced(source, reduction(data.image_size, data.resize, None))  # as an evaluation decodes them
    dataset = SplitDataset(source, data.image_size, data.resize, None, target=data.target, training=False)
    workers = data.num_workers if data.num_workers is not None else chosen_workers(source, accelerated=False)
    parts = []
    for batch in Loader(dataset, batch_size=BATCH_SIZE, num_workers=workers):
        entries = {"features": extractor.vectors(batch["image"]), **_recognized(batch)}
        parts.append(entries)
        view = store_rows(files, view, batch["index"], entries)
        if on_images is not None:
            on_images(int(batch["index"][-1]) + 1, len(source))
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _recognized(batch: dict[str, Any]) -> dict[str, Tensor]:
    sizes = [(int(height), int(width)) for height, width in batch["geometry"][:, :2]]
    return recognized([image.permute(1, 2, 0).numpy() for image in batch["image"]], sizes)


def _facts(data: DataModule, splits: Sequence[str]) -> list[Any]:
    """All that features depend on beside the network."""
    sources = [fingerprint(data.source(split)) for split in splits]
    return [data.image_size, data.resize, data.max_16bit, sources]


def _offset(on_images: OnImages, done: int, total: int) -> OnImages:
    return lambda now, _: on_images(done + now, total)
