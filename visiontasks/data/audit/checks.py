"""Finds all faults and oddities of a dataset's samples by decoding each of them."""

import shlex
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from visiontasks.data.audit.groups import LEAST_GAIN, WAYS, candidates, divided_groups, likeness
from visiontasks.data.audit.inspection import Inspection, inspect, is_smaller
from visiontasks.data.base import DataModule
from visiontasks.data.datasets.annotated import AnnotatedData
from visiontasks.data.datasets.image_folder import ImageFolder
from visiontasks.data.datasets.mask_folder import MaskFolder
from visiontasks.data.datasets.table_images import TableData
from visiontasks.data.formats.split_folders import SPLITS
from visiontasks.data.pipeline.depth import unused_range
from visiontasks.data.pipeline.duplicates import equal_groups, near_pairs
from visiontasks.data.pipeline.groups import group_names, groups_across
from visiontasks.data.pipeline.hidden import describe_hidden
from visiontasks.data.pipeline.problems import OnBadSample, Problem
from visiontasks.errors import BadSamplesError, InputError

PROBLEMS = {
    "bad": "cannot be used",
    "labels": "one image with different labels",
    "duplicates": "the same image in two splits",
    "near-duplicates": "nearly the same image in two splits",
    "groups": "a group in two splits",
    "classes": "without a training pixel",
}
"""Kinds of problems and what they are called."""

TRAITS = {
    "16-bit": "16 bits a channel, read as 8",
    "CMYK": "CMYK, read as RGB without a colour profile",
    "palette": "palette, read as RGB",
    "EXIF-rotated": "turned upright by the EXIF orientation",
    "transparent": "transparent, put on white",
    "animated": "animated, the first frame is taken",
}
"""Traits of files and what is done about them."""


@dataclass
class Note:
    """Something unusual that need not be wrong.

    Args:
        kind: Its short name.
        what: What was found.
        files: Where.
    """

    kind: str
    what: str
    files: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What a check found.

    Args:
        unit: What `class_counts` counts: images, objects or pixels.
        class_names: The classes.
    """

    unit: str
    class_names: list[str]
    split_sizes: dict[str, int] = field(default_factory=dict)
    """Images of each split, without those that `setup()` leaves out."""
    left_out: int = 0
    """Samples that could not be opened at all."""
    class_counts: dict[str, list[int]] = field(default_factory=dict)
    """Images, objects or pixels of each class in each split."""
    problems: dict[str, list[Problem]] = field(default_factory=lambda: {kind: [] for kind in PROBLEMS})
    notes: list[Note] = field(default_factory=list)


def check(data: DataModule, *, on_start: Callable[[int], None], on_progress: Callable[[int], None]) -> Report:
    """Decode all samples of a dataset and compare the images.

    Args:
        data: The dataset, before `setup()`.
        on_start: Gets the number of samples.
        on_progress: Gets the number of those that are done, again and again.

    Raises:
        InputError: If something has to be fixed before samples can be read.
    """
    bad, left_out = _open(data)
    sizes = {split: data.split_sizes[split] for split in SPLITS if split in data.split_sizes}
    report = Report(data.target.unit, data.class_names if sizes else [], sizes, left_out)
    report.problems["bad"] += bad
    on_start(sum(report.split_sizes.values()))
    found = inspect(data, on_progress=on_progress)
    report.problems["bad"] += [problem for _, problem in found.problems]
    for split in report.split_sizes:
        by_decoding = data.target.counts_by_decoding
        counts = found.class_counts.get(split) if by_decoding else data.count_classes(data.source(split))
        if counts is not None:
            report.class_counts[split] = counts[: data.num_classes].tolist()
    if data.target.counts_by_decoding and "train" in report.class_counts:
        report.problems["classes"] += _untaught(data, report.class_counts["train"])
    _compare_equal(found, report, data.made_splits)
    _compare_near(found, report, data.made_splits)
    _compare_groups(data, found, report)
    report.notes += [Note("reading", note) for note in data.notes]
    if data.hidden:
        what = f"hidden or a system's own, passed over: {describe_hidden(data.hidden)}"
        report.notes.append(Note("hidden", what))
    report.notes += _traits(found)
    wide = [found.places[row] for row in found.traits.get("16-bit", [])]
    unused = "" if data.max_16bit else unused_range(wide)
    report.notes += [Note("16-bit-range", unused, wide)] if unused else []
    small = is_smaller(found.sizes, data.image_size)
    if len(small):
        height, width = data.image_size
        report.notes.append(
            Note("small", f"smaller than image_size {width}x{height}, enlarged", [found.places[row] for row in small])
        )
    report.notes += _imbalance(report, strong=data.target.strong_imbalance)
    return report


def _open(data: DataModule) -> tuple[list[Problem], int]:
    """Open the splits as far as that is possible, whatever `on_bad_sample`.

    Returns:
        The faults of samples that were left out, and their number.
    """
    data.prepare_data()
    can_skip = _set(data, "error")
    try:
        data.setup()
        return [], 0
    except BadSamplesError as error:
        problems: list[Problem] = list(error.problems)
    if not can_skip:
        return problems, len({problem.file for problem in problems})
    _set(data, "skip")
    if isinstance(data, ImageFolder):
        data.skip_decodes = False
    try:
        data.setup()
    except BadSamplesError:  # no sample is left
        pass
    except InputError as error:  # what would be wrong without the bad samples
        problems.append(Problem.of_error("after skipping bad samples", error, otherwise="fix it"))
    return problems, sum(data.skipped.values())


def _set(data: DataModule, on_bad_sample: OnBadSample) -> bool:
    """Choose what becomes of bad samples, if the dataset has the choice."""
    if not hasattr(data, "on_bad_sample"):
        return False
    data.on_bad_sample = on_bad_sample
    return True


def _untaught(data: DataModule, counts: Sequence[int]) -> list[Problem]:
    """Classes that no training pixel has."""
    if isinstance(data, MaskFolder):
        return data.class_problems(counts)
    empty = [name for name, count in zip(data.class_names, counts, strict=True) if count == 0]
    return [Problem("train", f"no training pixel of the class {name}", "add images of it") for name in empty]


def _compare_equal(found: Inspection, report: Report, made: Container[str]) -> None:
    within: list[str] = []
    for group in equal_groups(found.digests):
        first = group[0]
        for row in group[1:]:
            if found.labels[row] != found.labels[first]:
                what = f"the same pixels as {found.places[first]}, {_labels(found, report, row, first)}"
                report.problems["labels"].append(Problem(found.places[row], what, "correct one, or remove both"))
            if found.splits[row] != found.splits[first]:
                what = f"the same pixels as {found.places[first]} {_splits(found, row, first)}"
                report.problems["duplicates"].append(Problem(found.places[row], what, _one_split(made, found, row)))
            else:
                within.append(f"{found.places[row]} = {found.places[first]}")
    if within:
        report.notes.append(Note("duplicates-within", "the same pixels as another image of the split", within))


def _compare_near(found: Inspection, report: Report, made: Container[str]) -> None:
    """Compare the images of each two splits; those with equal pixels are listed already."""
    splits, searchable = np.array(found.splits), found.searchable
    rows = {split: searchable[splits[searchable] == split] for split in report.split_sizes}
    for split, other in ((b, a) for a, b in combinations(rows, 2)):
        partners: dict[int, list[tuple[float, int]]] = {}
        for row, partner, alike in near_pairs(found.hashes, found.thumbnails, rows[split], rows[other]):
            if found.digests[row] != found.digests[partner]:
                partners.setdefault(row, []).append((alike, partner))
        for row, of_row in partners.items():
            alike, best = max(of_row)
            more = f" and {len(of_row) - 1} more" if len(of_row) > 1 else ""
            labels = _labels(found, report, row, best)
            what = (
                f"nearly the same as {found.places[best]}{more} {_splits(found, row, best)}, correlation {alike:.3f}"
                f"{', ' + labels if found.labels[row] != found.labels[best] else ''}"
            )
            report.problems["near-duplicates"].append(Problem(found.places[row], what, _one_split(made, found, row)))


def _compare_groups(data: DataModule, found: Inspection, report: Report) -> None:
    """Compare the groups of the splits; where none are named, note those that the images seem to have."""
    if not isinstance(data, ImageFolder | AnnotatedData | MaskFolder | TableData) or not found.places:
        return
    if data.groups is None:
        report.notes += _likely_groups(data, found)
    elif data.groups != "near":  # which are compared as such
        names: dict[str, list[str]] = {split: [] for split in SPLITS}
        for split, name in zip(found.splits, group_names(data.groups, found.places, data.root), strict=True):
            names[split].append(name)
        for name, where in groups_across(names).items():
            counts = " and ".join(f"{split} ({count})" for split, count in where.items())
            what = f"group of {data.groups} with images in {counts}"
            report.problems["groups"].append(Problem(name, what, "move its images into one split"))


def _likely_groups(data: DataModule, found: Inspection) -> Iterator[Note]:
    """Notes on groups whose images look alike, which a split at random divides."""
    for each in candidates(found.places, found.labels, data.root):
        share, chance, asked = likeness(each.numbers, found.thumbnails)
        if share < chance + LEAST_GAIN:
            continue
        divided, key = divided_groups(each.numbers, found.splits), f"--data.groups {shlex.quote(each.groups)}"
        study = f"visiontasks study groups {shlex.quote(str(data.root))} {key}"
        claim = f"; what a random split claims: {study}" if data.target.name == "label" else ""
        yield Note(
            "groups",
            f"{len(each.sizes):,} groups of {each.sizes.min()} to {each.sizes.max()} images by {WAYS[each.groups]}, "
            f"{divided:,} of them in two splits; the most similar image is of the same group for {share:.0%} of "
            f"{asked:,} images, for {chance:.1%} by chance{claim}; splits that divide none: {key}",
        )


def _splits(found: Inspection, row: int, first: int) -> str:
    return f"({found.splits[row]}, {found.splits[first]})"


def _one_split(made: Container[str], found: Inspection, row: int) -> str:
    """What to do with copies; splits that are made here need not divide them."""
    is_made = found.splits[row] in made
    return f"remove one, or {'set data.init_args.groups: near' if is_made else 'put both into one split'}"


def _labels(found: Inspection, report: Report, row: int, first: int) -> str:
    names = [report.class_names[found.labels[i]] if found.labels[i] >= 0 else "" for i in (row, first)]
    return f"but labelled {names[0]}, not {names[1]}"


def _traits(found: Inspection) -> Iterator[Note]:
    for trait, what in TRAITS.items():
        if trait in found.traits:
            yield Note(trait, what, [found.places[row] for row in found.traits[trait]])


def _imbalance(report: Report, *, strong: int) -> Iterator[Note]:
    """A note if the largest class of the training split is many times the smallest."""
    counts = report.class_counts.get("train", [])
    there = [count for count in counts if count]
    if there and max(there) >= strong * min(there):
        ratio = max(there) / min(there)
        ends = (f"{report.class_names[counts.index(count)]} {count:,}" for count in (max(there), min(there)))
        what = f"the largest class has {ratio:.0f} times the {report.unit} of the smallest: {' and '.join(ends)}"
        yield Note("imbalance", what)
