"""Any number of loading processes, kept or made anew for each epoch, gives bitwise the same batches."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest

from visiontasks.data import DataModule, DetectionFolder, ImageFolder, MaskFolder, VOCBoxes

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning"),
]

EPOCHS = 2
WORKERS = [(0, False), (1, False), (1, True), (2, False), (2, True), (4, False), (4, True)]


def augment() -> list[Any]:
    """Transforms that draw, alone, in turns and nested."""
    noise = A.OneOf([A.GaussNoise(p=1), A.OneOf([A.Blur(p=1), A.RandomGamma(p=1)], p=0.7)], p=0.9)
    moves = A.SomeOf([A.HorizontalFlip(p=0.5), A.Affine(scale=(0.8, 1.2), rotate=(-20, 20), p=1)], n=1)
    return [noise, moves, A.Sequential([A.RandomBrightnessContrast(p=0.5), A.ChannelShuffle(p=0.5)], p=0.8)]


@pytest.fixture(scope="module")
def roots(
    tmp_path_factory: pytest.TempPathFactory, write_scenes: Callable[..., None], class_folders: Callable[..., Path]
) -> Path:
    root = tmp_path_factory.mktemp("workers")
    class_folders(root / "label", {"cat": 10, "dog": 10})
    write_scenes(root / "box", "VOCBoxes", n=24)
    write_scenes(root / "mask", "MaskFolder", n=24)
    return root


def make(target: str, root: Path, workers: int) -> DataModule:
    kind: Any = {"label": ImageFolder, "box": VOCBoxes, "mask": MaskFolder}[target]
    data: DataModule = kind(
        str(root / target),
        image_size=32,
        batch_size=4,
        resize="squash",
        augment=augment(),
        num_workers=workers,
        seed=3,
    )
    data.setup("fit")
    return data


def digests(data: DataModule, persistent: bool) -> list[list[str]]:
    """A digest of each batch of each epoch, all of its tensors included."""
    options = data._loader_options("train")
    assert options["persistent_workers"] == (options["num_workers"] > 0)  # what trainings use
    data._loader_options = lambda split: {**options, "persistent_workers": persistent}
    loader = data.train_dataloader()
    return [[_digest(batch) for batch in loader] for _ in range(EPOCHS)]


def images_by_row(data: DataModule) -> list[dict[int, Any]]:
    """The images of each epoch by their row in the split."""
    loader = data.train_dataloader()
    return [
        {
            row: image
            for batch in loader
            for row, image in zip(batch["index"].tolist(), batch["image"].numpy(), strict=True)
        }
        for _ in range(EPOCHS)
    ]


def _digest(batch: dict[str, Any]) -> str:
    parts = hashlib.sha256()
    for key in sorted(batch):
        for value in batch[key] if isinstance(batch[key], list) else [batch[key]]:
            parts.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            parts.update(np.ascontiguousarray(value.numpy()).tobytes())
    return parts.hexdigest()


@pytest.mark.parametrize(("workers", "persistent"), WORKERS)
@pytest.mark.parametrize("target", ["label", "box", "mask"])
def test_any_number_of_workers_gives_the_batches_of_none(
    target: str, workers: int, persistent: bool, roots: Path
) -> None:
    alone = digests(make(target, roots, 0), persistent=False)
    assert len(alone[0]) == len(alone[1]) >= 2
    assert len({digest for epoch in alone for digest in epoch}) == 2 * len(alone[0])  # no batch comes twice
    assert digests(make(target, roots, workers), persistent) == alone


def mosaics(root: Path, workers: int) -> DetectionFolder:
    mosaic = A.Mosaic(target_size=(32, 32), cell_shape=(32, 32), p=0.7)
    augment = [mosaic, A.HorizontalFlip(), A.Affine(scale=(0.8, 1.2), p=1)]
    data = DetectionFolder(
        str(root / "box"), image_size=32, batch_size=4, augment=augment, num_workers=workers, seed=3, cache_images_gb=0
    )
    data.setup("fit")
    return data


def test_mosaics_are_the_same_for_any_number_of_workers_and_in_any_order(roots: Path) -> None:
    """A resumed training reads the samples that are left by (epoch, row), so that order is nothing to them."""
    alone = digests(mosaics(roots, 0), persistent=False)
    assert len({digest for epoch in alone for digest in epoch}) == 2 * len(alone[0])
    assert digests(mosaics(roots, 2), persistent=True) == alone
    first, second = (mosaics(roots, 0).dataset("train") for _ in range(2))
    keys = [(epoch, row) for epoch in (0, 1) for row in range(6)]
    forwards = {key: _digest(first.collate([first[key]])) for key in keys}
    assert {key: _digest(second.collate([second[key]])) for key in reversed(keys)} == forwards


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("target", ["label", "box", "mask"])
def test_a_sample_is_augmented_anew_in_each_epoch(target: str, workers: int, roots: Path) -> None:
    first, second = images_by_row(make(target, roots, workers))
    common = first.keys() & second.keys()
    assert len(common) >= 4
    assert all(not np.array_equal(first[row], second[row]) for row in common)


@pytest.mark.parametrize("target", ["label", "box", "mask"])
def test_another_seed_gives_other_batches_from_the_same_samples(target: str, roots: Path) -> None:
    data, other = make(target, roots, 0), make(target, roots, 0)
    assert other.augmentation is not None
    other.augmentation.seed += 1
    first, second = digests(data, persistent=False), digests(other, persistent=False)
    assert all(a != b for epoch, epoch2 in zip(first, second, strict=True) for a, b in zip(epoch, epoch2, strict=True))
