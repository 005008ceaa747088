"""Decodes every sample of a dataset once: finds damage, and stores the little that comparing images takes."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from visiontasks.cores import available_cores
from visiontasks.data.base import DataModule
from visiontasks.data.formats.masks import MaskSource
from visiontasks.data.formats.split_folders import SPLITS
from visiontasks.data.pipeline.duplicates import LEAST_SIDE_PX, THUMBNAIL_PX, UInt64Array, thumbnail_and_hash
from visiontasks.data.pipeline.problems import Problem
from visiontasks.data.pipeline.reader import UInt8Array, inspect_image
from visiontasks.data.pipeline.sources import ArraySource, Int64Array, Source, base_row, sample_path
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Size

_DIGEST_BYTES = 16
_BLOCK = 512


@dataclass
class Inspection:
    """What is left of n images after they were decoded, 340 bytes each.

    Args:
        splits: Split of each image, (n,).
        places: Its file; where it comes from no file of its own, split and index, and the row before the splits were
            made, (n,).
        labels: Its label, or that of its first object, (n,).
    """

    splits: list[str]
    places: list[str]
    labels: Int64Array
    digests: list[bytes] = field(init=False)
    """Hash of the decoded pixels, (n,); empty where there are none."""
    hashes: UInt64Array = field(init=False)
    thumbnails: UInt8Array = field(init=False)
    sizes: Int64Array = field(init=False)
    """Height and width, (n, 2); 0 where it could not be decoded."""
    traits: dict[str, list[int]] = field(default_factory=dict)
    """Rows of the images with each trait, as `inspect_image` calls them."""
    problems: list[tuple[int, Problem]] = field(default_factory=list)
    """Rows and the faults of their files."""
    class_counts: dict[str, Int64Array] = field(default_factory=dict)
    """What a split has of each class, where counting takes decoding."""

    def __post_init__(self) -> None:
        n = len(self.splits)
        self.digests = [b""] * n
        self.hashes = np.zeros(n, dtype=np.uint64)
        self.thumbnails = np.zeros((n, THUMBNAIL_PX, THUMBNAIL_PX), dtype=np.uint8)
        self.sizes = np.zeros((n, 2), dtype=np.int64)

    @property
    def searchable(self) -> Int64Array:
        """Rows of the images that are large enough to be searched for near duplicates."""
        return np.flatnonzero(self.sizes.min(1) >= LEAST_SIDE_PX)


@dataclass
class _Sample:
    """What was found in one sample."""

    image: UInt8Array | None = None
    traits: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    class_counts: Int64Array | None = None


def inspect(data: DataModule, *, on_progress: Callable[[int], None]) -> Inspection:
    """Decode every image and mask of a dataset, with a thread for each core.

    Args:
        data: The dataset, after `setup()`.
        on_progress: Gets the number of samples that are done, again and again.
    """
    sources = {split: data.source(split) for split in sorted(data.split_sizes, key=SPLITS.index)}
    rows = [(split, index) for split, source in sources.items() for index in range(len(source))]
    found = Inspection(
        [split for split, _ in rows],
        [sample_path(sources[split], index) or _place(split, sources[split], index) for split, index in rows],
        np.concatenate([*(source.labels for source in sources.values()), np.zeros(0, dtype=np.int64)]),
    )

    def look(row: int) -> _Sample:
        split, index = rows[row]
        sample = _look(data, sources[split], index, found.places[row])
        if sample.image is not None:
            found.digests[row] = _digest(sample.image)
            found.thumbnails[row], found.hashes[row] = thumbnail_and_hash(sample.image)
            found.sizes[row] = sample.image.shape[:2]
        sample.image = None
        return sample

    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(rows), _BLOCK):
            block = range(start, min(start + _BLOCK, len(rows)))
            for row, sample in zip(block, pool.map(look, block), strict=True):
                _add(found, row, sample)
                on_progress(row + 1)
    return found


def _add(found: Inspection, row: int, sample: _Sample) -> None:
    for trait in sample.traits:
        found.traits.setdefault(trait, []).append(row)
    found.problems += [(row, problem) for problem in sample.problems]
    if sample.class_counts is not None:
        split = found.splits[row]
        found.class_counts[split] = found.class_counts.get(split, 0) + sample.class_counts


def _place(split: str, source: Source, index: int) -> str:
    row = base_row(source, index)[1]
    return f"{split} image {index}{f' (row {row})' if row != index else ''}"


def _look(data: DataModule, source: Source, index: int, place: str) -> _Sample:
    base, row = base_row(source, index)
    path = "" if isinstance(base, ArraySource) else sample_path(source, index)
    found = _Sample()
    try:
        if path:
            found.image, found.traits = inspect_image(path, max_16bit=data.max_16bit)
        else:
            sample = base[row]
            found.image = sample["image"]
            found.class_counts = data.target.decoded_counts(sample)
    except InputError as error:
        found.problems.append(Problem.of_error(place, error, otherwise="copy it there again, or remove it"))
    if isinstance(base, MaskSource):
        size = None if found.image is None else (found.image.shape[0], found.image.shape[1])
        try:
            found.class_counts = data.target.decoded_counts({"mask": base.mask(row, size)})
        except InputError as error:
            found.problems.append(Problem.of_error(str(base.masks[row]), error, otherwise="copy it there again"))
    return found


def _digest(image: UInt8Array) -> bytes:
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=_DIGEST_BYTES)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def is_smaller(sizes: Int64Array, size: Size) -> Int64Array:
    """Rows of decoded images that have fewer pixels across or down than a size."""
    return np.flatnonzero((sizes.min(1) > 0) & (sizes < size).any(1))
