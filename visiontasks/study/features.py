"""The features of all images of a dataset: a frozen backbone computes them once, and later studies read them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import PIL
import timm
import torch
from torch import Tensor, nn

from visiontasks import __version__
from visiontasks.backbones import normalization
from visiontasks.data import DataModule
from visiontasks.data.pipeline.duplicates import (
    LEAST_SIDE_PX,
    THUMBNAIL_PX,
    near_groups,
    thumbnail_and_hash,
)
from visiontasks.data.pipeline.loader import Loader, SplitDataset, chosen_workers
from visiontasks.data.pipeline.sources import Int64Array, Source, fingerprint, sample_path
from visiontasks.errors import InputError
from visiontasks.finetuning.feature_store import View
from visiontasks.finetuning.features import GB, FeatureFiles
from visiontasks.finetuning.features import fingerprint as network_fingerprint
from visiontasks.outputs.base import Float32Array

SPLITS = ("train", "val", "test")
BATCH_SIZE = 32
CACHE_GB = 10.0
"""As `finetune.cache_size_gb` of the recipes."""
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
    """

    vectors: Float32Array
    labels: Int64Array
    splits: np.ndarray[Any, np.dtype[np.str_]]
    rows: Int64Array
    files: Sequence[str]
    groups: Int64Array
    class_names: Sequence[str]

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
        )


def image_features(
    data: DataModule, backbone: nn.Module, *, splits: Sequence[str] = SPLITS, on_images: OnImages | None = None
) -> Features:
    """Features of the images of some splits as an evaluation sees them: resized, not augmented; in float32 on the CPU.

    They are stored with those of trainings, by everything they depend on, and read from there the next time; where
    files cannot be stored they are computed anew.

    Args:
        data: After `setup()`; each image has one class.
        backbone: The vector view of a network; it is put into eval mode.
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
    backbone.eval().requires_grad_(requires_grad=False)
    known = [split for split in splits if split in data.split_sizes]
    total, done = sum(data.split_sizes[split] for split in known), 0
    name = network_fingerprint(backbone, backbone.modules(), _facts(data, known))
    about = {"data": type(data).__name__, "root": str(getattr(data, "root", "")), "backbone": _name(backbone)}
    files = _open(name, about)
    parts: list[dict[str, Tensor]] = []
    try:
        for split in known:
            source = data.source(split)
            view = None if files is None else files.view(f"study.{split}", len(source))
            report = None if on_images is None else _offset(on_images, done, total)
            parts.append(_split_features(data, split, backbone, files, view, report))
            done += len(source)
    finally:
        if files is not None:
            files.close()
    whole = {key: torch.cat([part[key] for part in parts]).numpy() for key in parts[0]}
    sources = [data.source(split) for split in known]
    return Features(
        vectors=whole["features"].astype(np.float32, copy=False),
        labels=np.concatenate([source.labels for source in sources]),
        splits=np.concatenate([np.full(len(source), split) for split, source in zip(known, sources, strict=True)]),
        rows=np.concatenate([np.arange(len(source)) for source in sources]),
        files=[sample_path(source, row) for source in sources for row in range(len(source))],
        groups=near_groups(whole["hash"].view(np.uint64), whole["thumbnail"]),
        class_names=list(data.class_names),
    )


@torch.inference_mode()
def milliseconds(data: DataModule, backbone: nn.Module) -> float:
    """Time of the network for one image on this machine now: the least of 3 batches of 8, in float32."""
    backbone.eval()
    noise = torch.Generator().manual_seed(0)
    image = torch.randint(256, (TIMED, 3, *data.image_size), generator=noise, dtype=torch.uint8)
    forward = _forward(backbone)
    taken = []
    for _ in range(4):  # the first chooses kernels
        start = perf_counter()
        forward(image)
        taken.append(perf_counter() - start)
    return 1000 * min(taken[1:]) / TIMED


@torch.inference_mode()
def _split_features(
    data: DataModule,
    split: str,
    backbone: nn.Module,
    files: FeatureFiles | None,
    view: View | None,
    on_images: OnImages | None,
) -> dict[str, Tensor]:
    source = data.source(split)
    if view is not None and view.is_complete:
        stored = view.rows(torch.arange(len(source)))
        if stored is not None:
            return stored
    dataset = SplitDataset(source, data.image_size, data.resize, None, target=data.target, training=False)
    workers = data.num_workers if data.num_workers is not None else chosen_workers(source, accelerated=False)
    forward, parts = _forward(backbone), []
    for batch in Loader(dataset, batch_size=BATCH_SIZE, num_workers=workers):
        entries = {"features": forward(batch["image"]), **_recognized(batch)}
        parts.append(entries)
        view = _stored(files, view, batch["index"], entries)
        if on_images is not None:
            on_images(int(batch["index"][-1]) + 1, len(source))
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _stored(files: FeatureFiles | None, view: View | None, index: Tensor, entries: dict[str, Tensor]) -> View | None:
    """Write rows; None where there is no room, so that no more are written."""
    if files is None or view is None:
        return None
    try:
        if not view.is_created and not files.create(view, entries):
            return None
        view.write(index, entries)
    except OSError:
        return None
    return view


def _forward(backbone: nn.Module) -> Callable[[Tensor], Tensor]:
    """From pixels, uint8 (B, 3, H, W), to vectors, float32 (B, D)."""
    known = normalization(backbone)
    mean, std = (255 * torch.tensor(values).view(1, -1, 1, 1) for values in (known.mean, known.std))
    network = backbone.float().to(memory_format=torch.channels_last)

    def forward(image: Tensor) -> Tensor:
        pixels = image.to(torch.float32, memory_format=torch.channels_last)
        vectors: Tensor = network((pixels - mean) / std)
        return vectors.float()

    return forward


def _recognized(batch: dict[str, Any]) -> dict[str, Tensor]:
    """What near duplicates are recognized by: hash and thumbnail; of images that are too small a hash of 0."""
    found = []
    for image, geometry in zip(batch["image"], batch["geometry"], strict=True):
        if int(geometry[:2].min()) < LEAST_SIDE_PX:
            found.append((np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8), 0))
        else:
            found.append(thumbnail_and_hash(np.ascontiguousarray(image.permute(1, 2, 0).numpy())))
    hashes = np.array([each for _, each in found], dtype=np.uint64).view(np.int64)
    return {"thumbnail": torch.from_numpy(np.stack([each for each, _ in found])), "hash": torch.from_numpy(hashes)}


def _facts(data: DataModule, splits: Sequence[str]) -> list[Any]:
    """All that features depend on beside the network."""
    sources: list[Source] = [data.source(split) for split in splits]
    return [
        *("study", BATCH_SIZE, data.image_size, data.resize, data.max_16bit, [fingerprint(each) for each in sources]),
        *(__version__, torch.__version__, timm.__version__, torch.get_num_threads()),
        *(cv2.__version__, np.__version__, PIL.__version__),
        torch.backends.cpu.get_cpu_capability(),
    ]


def _open(name: str, about: dict[str, str]) -> FeatureFiles | None:
    """The folder of features; None where it cannot be written, or another process has it."""
    if sys.platform == "win32":
        return None
    try:
        files = FeatureFiles(name, int(CACHE_GB * GB), about)
    except OSError as error:
        print(f"features are not cached: {error}", file=sys.stderr, flush=True)
        return None
    if files.is_ours:
        return files
    files.close()
    return None


def _name(backbone: nn.Module) -> str:
    cfg: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    return ".".join(filter(None, [cfg.get("architecture"), cfg.get("tag")])) or type(backbone).__name__


def _offset(on_images: OnImages, done: int, total: int) -> OnImages:
    return lambda now, _: on_images(done + now, total)
