"""A dataset in a training's plan: classes and their counts, what was passed over, copies across splits."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np

from visiontasks.cores import available_cores
from visiontasks.data.audit.annotations import MOST_DECODED, SplitAnnotations
from visiontasks.data.base import DataModule
from visiontasks.data.formats.split_folders import SPLITS
from visiontasks.data.pipeline.duplicates import LEAST_SIDE_PX, near_pairs, thumbnail_and_hash
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.hidden import describe_hidden
from visiontasks.data.pipeline.reader import UInt8Array, read_image
from visiontasks.data.pipeline.sources import annotation, sample_path
from visiontasks.errors import InputError, printable

WARNING = "warning: "
MOST_CLASSES = 10
"""With more than these the first of them are named, and how few and many images a class has."""
MOST_COMPARED = 1000
"""Images that are looked at for near duplicates, evenly over the splits: about a second. `check-data` compares all."""
_MOST_PAIRS = 3
_SMALL, _BLOCK = 65_536, 4_096
"""Bytes: of larger files of one size (uncompressed ones) a block from the middle is compared first."""

Files = Mapping[str, Sequence[str]]
"""The files of each split."""


def overview(data: DataModule) -> list[str]:
    """Lines about a dataset for the plan, after `setup()`."""
    lines = [describe_data(data)]
    empty = untaught_classes(data)
    lines += [f"{WARNING}no training {data.target.unit} of {listed(empty)}: not learned"] if empty else []
    lines += [f"note: {note}" for note in data.notes]
    lines += [f"note: passed over as hidden or a system's: {describe_hidden(data.hidden)}"] if data.hidden else []
    lines += [f"{WARNING}{line}" for line in copies_across_splits(data)]
    return [printable(line) for line in lines]


def describe_data(data: DataModule) -> str:
    """Images, classes with their counts in all splits, and the sizes of the splits.

    Where classes are counted by decoding, their shares are those of some training samples.
    """
    sizes = {split: data.split_sizes[split] for split in SPLITS if split in data.split_sizes}
    total = sum(sizes.values())
    of_splits = ", ".join(f"{split} {size:,}" for split, size in sizes.items())
    classes = describe_classes(data.class_names, _counts(data), data.target.unit)
    return f"{total:,} image{'s' if total != 1 else ''}, {classes}. {of_splits}{_who_split(data)}"


def describe_classes(names: Sequence[str], counts: Sequence[int] | None, unit: str) -> str:
    """The classes with their counts, or the first of many.

    Args:
        names: K.
        counts: What each class has, K; None if that is not known.
        unit: What is counted; of pixels the share is given.
    """
    total = max(1, sum(counts or ()))
    numbers = [f" {n / total:.1%}" if unit == "pixels" else f" {n:,}" for n in counts or ()] or [""] * len(names)
    shown = [f"{name}{number}" for name, number in zip(names, numbers, strict=True)][:MOST_CLASSES]
    plural = "es" if len(names) != 1 else ""
    of = {"images": "", "pixels": " by share of pixels"}.get(unit, f" by {unit}") if counts else ""
    if len(names) > MOST_CLASSES and counts and unit != "pixels":
        of = f" of {min(counts):,} to {max(counts):,} {unit}"
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{len(names)} class{plural}{of}: {', '.join(shown)}{more}"


def _counts(data: DataModule) -> list[int] | None:
    """What the classes have in all splits; in training alone where that takes decoding or was done by `setup()`."""
    if data.target.counts_by_decoding:
        if "train" not in data.split_sizes:
            return None
        counts = SplitAnnotations(data, "train", most_decoded=MOST_DECODED).class_counts()
        return [int(count) for count in counts] if counts.any() else None
    counts = np.sum([data.count_classes(data.source(split)) for split in data.split_sizes], axis=0)
    return [int(count) for count in counts]


def _who_split(data: DataModule) -> str:
    """Which splits were made here."""
    made = [split for split in SPLITS if split in data.made_splits]
    if len(made) == len(data.split_sizes) - 1:
        return " (split for you)"
    return f" ({' and '.join(made)} split off train for you)" if made else ""


def untaught_classes(data: DataModule) -> list[str]:
    """Classes that no training sample has; of masks, they are read until every class was found.

    Raises:
        InputError: If a mask cannot be read.
    """
    if "train" not in data.split_sizes:
        return []
    counts, _ = _training_counts(data)
    names, source = data.class_names, data.source("train")
    if counts is not None:
        return [name for name, count in zip(names, counts, strict=True) if count == 0]
    missing = dict(enumerate(names))
    for index in range(len(source)):
        found = data.target.decoded_counts(annotation(source, index))
        for label in [] if found is None else np.flatnonzero(found).tolist():
            missing.pop(label, None)
        if not missing:
            break
    return list(missing.values())


def copies_across_splits(data: DataModule) -> list[str]:
    """Images that are in two splits, as the same file or nearly the same picture; in words, empty if none was found.

    Of files of equal size the content is compared, all of them. Near duplicates are looked for among `MOST_COMPARED`
    images.
    """
    sources = {split: data.source(split) for split in SPLITS if split in data.split_sizes}
    files = {split: [sample_path(source, row) for row in range(len(source))] for split, source in sources.items()}
    files = {split: paths for split, paths in files.items() if all(paths)}
    equal = list(equal_files(files))
    lines = [_line(len(equal), "the same file", equal)] if equal else []
    known = {path for path, _ in equal}
    near = [pair for pair in near_files(files) if pair[0] not in known]
    total = sum(map(len, files.values()))
    among = f" among {MOST_COMPARED:,} of {total:,} images" if total > MOST_COMPARED else ""
    return lines + ([_line(len(near), f"nearly the same image{among}", near)] if near else [])


def equal_files(files: Files) -> Iterator[tuple[str, str]]:
    """Each file whose content is in an earlier split too, and one of that."""
    of_size: dict[int, list[tuple[str, str]]] = {}
    for split, path in ((split, path) for split, paths in files.items() for path in paths):
        of_size.setdefault(Path(path).stat().st_size, []).append((split, path))
    for size, group in of_size.items():
        for alike in _alike(group, (size - _BLOCK) // 2) if size > _SMALL else [group]:
            yield from _across(_alike(alike, 0))


def near_files(files: Files) -> Iterator[tuple[str, str]]:
    """Images that are nearly the same as one of an earlier split, and that one, among some of each split."""
    each = MOST_COMPARED // max(1, len(files))
    chosen = {split: _evenly(paths, each) for split, paths in files.items()}
    paths = [path for of_split in chosen.values() for path in of_split]
    with ThreadPoolExecutor(available_cores()) as pool:
        looked = list(pool.map(_look, paths))
    rows = np.repeat(np.arange(len(chosen)), [len(of_split) for of_split in chosen.values()])
    can = np.array([found is not None for found in looked], dtype=np.bool_)
    thumbnails = np.stack([found[0] if found else np.zeros((16, 16), np.uint8) for found in looked]) if looked else None
    hashes = np.array([found[1] if found else 0 for found in looked], dtype=np.uint64)
    for split, other in ((b, a) for a, b in combinations(range(len(chosen)), 2)):
        mine, theirs = (np.flatnonzero(can & (rows == number)) for number in (split, other))
        if thumbnails is not None:
            known: set[int] = set()
            for row, partner, _ in near_pairs(hashes, thumbnails, mine, theirs):
                if row not in known:
                    known.add(row)
                    yield paths[row], paths[partner]


def _training_counts(data: DataModule) -> tuple[list[int] | None, str]:
    """What the classes have in the training split, where that takes no decoding."""
    known = "train" in data.split_sizes and not data.counts_by_decoding
    return data.class_counts if known else None, data.target.unit


def _alike(group: Sequence[tuple[str, str]], start: int) -> list[list[tuple[str, str]]]:
    """Files with the same bytes, in several splits: a block of them, or all where it starts at 0."""
    if len({split for split, _ in group}) < 2:
        return []
    found: dict[bytes, list[tuple[str, str]]] = {}
    for split, path in group:
        with Path(path).open("rb") as file:
            file.seek(start)
            content = file.read(_BLOCK if start else -1)
        found.setdefault(hashlib.blake2b(content, digest_size=16).digest(), []).append((split, path))
    return list(found.values())


def _across(groups: Sequence[Sequence[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    for group in groups:
        yield from ((path, group[0][1]) for split, path in group if split != group[0][0])


def _look(path: str) -> tuple[UInt8Array, int] | None:
    try:
        image = read_image(path, least_size=lambda size: (LEAST_SIDE_PX, LEAST_SIDE_PX))
    except InputError:  # which the training reports itself
        return None
    return thumbnail_and_hash(image) if min(image.shape[:2]) >= LEAST_SIDE_PX else None


def _evenly(paths: Sequence[str], most: int) -> list[str]:
    if len(paths) <= most:
        return list(paths)
    return [paths[row] for row in np.linspace(0, len(paths) - 1, most).astype(int)]


def _line(count: int, what: str, pairs: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{path} and {other}" for path, other in pairs[:_MOST_PAIRS])
    more = f" and {count - _MOST_PAIRS} more" if count > _MOST_PAIRS else ""
    return f"in two splits {what}: {shown}{more}; metrics on them are too good (visiontasks check-data lists all)"
