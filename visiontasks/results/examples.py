"""Which samples of a measured split a report shows: mistakes, the worst, random ones; found again by their names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np

from visiontasks.data import DataModule, Source
from visiontasks.errors import InputError
from visiontasks.report import GradCams, Picture, worst_and_random
from visiontasks.results.grad_cam import grad_cams_of
from visiontasks.results.pictures import COUNT, picture_of
from visiontasks.results.samples import Key, Samples, keys_of, sample_names
from visiontasks.tasks import Task
from visiontasks.units import counted

MOST_MISTAKES = 24


@dataclass(frozen=True)
class Examples:
    """Pictures for a report.

    Args:
        pictures: Sections of samples by title.
        grad_cams: Grad-CAM of some of them; None for a task without classes of images.
        notes: Why some or all are missing.
        training: Of the first training batch.
    """

    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    grad_cams: GradCams | None = None
    notes: Sequence[str] = ()
    training: Sequence[Picture] = ()


def choose_examples(
    task: Task, data: DataModule, split: str, samples: Samples, drawn: Mapping[int, Picture] | None = None
) -> Examples:
    """Draw the most informative samples.

    Args:
        task: With the weights that were measured.
        data: Set up; samples whose files it has not any more are left out with a note.
        split: What was measured.
        samples: What was found of each sample.
        drawn: Pictures that there are already, by row of the split.
    """
    rows = find_rows(samples, data.source(split), data.class_names)
    pictures, missing = {}, 0
    for title, positions in _chosen(task, samples, split).items():
        found = [_picture(task, data, split, samples, i, rows.get(i), drawn or {}) for i in positions]
        pictures[title] = [picture for picture in found if picture is not None]
        missing += found.count(None)
    notes = [f"{counted(missing, 'picture')} left out: the files are gone or cannot be read."] if missing else []
    grad_cams = None
    if samples.predicted is not None:
        mistakes, *_, others = pictures.values()
        grad_cams = grad_cams_of(task, mistakes, others, data)
    return Examples({title: section for title, section in pictures.items() if section}, grad_cams, notes)


def find_rows(samples: Samples, source: Source, class_names: Sequence[str]) -> dict[int, int]:
    """Where samples of a table lie in a split, which may have lost some since.

    Args:
        samples: The table.
        source: The split.
        class_names: By label.

    Returns:
        Rows by position in the table. One whose name and label the split has another number of times is left out,
        since they cannot be distinguished.
    """
    names = sample_names(source, range(len(source)))
    labels = [""] * len(names) if samples.label is None else [class_names[k] for k in source.labels.tolist()]
    there = {key: row for row, key in enumerate(keys_of(names, labels))}
    wanted, known = _counts(samples.keys), _counts(list(there))
    return {i: there[key] for i, key in enumerate(samples.keys) if key in there and wanted[key[:2]] == known[key[:2]]}


def most_confident_mistakes(samples: Samples, most: int = MOST_MISTAKES) -> list[int]:
    """Positions of the samples with a wrong class, the most probable one first; none for a task without classes."""
    if samples.is_right is None or samples.probability is None:
        return []
    wrong = [
        (-probability, i)
        for i, (right, probability) in enumerate(zip(samples.is_right, samples.probability, strict=True))
        if not right and not isnan(probability)
    ]
    return [i for _, i in sorted(wrong)[:most]]


def _counts(keys: Sequence[Key]) -> Counter[tuple[str, str]]:
    return Counter((name, label) for name, label, _ in keys)


def _chosen(task: Task, samples: Samples, split: str) -> dict[str, list[int]]:
    """Positions of the samples to show by title."""
    worst, others = worst_and_random(np.arange(len(samples)), samples.score, count=COUNT)
    chosen = {"The most confident mistakes": most_confident_mistakes(samples)}
    if task.score_measures:
        chosen[f"The {len(worst)} worst of the {split} split"] = worst.tolist()
    chosen[f"{len(others)} random others" if len(chosen) > 1 else "Random samples"] = others.tolist()
    return chosen


def _picture(
    task: Task,
    data: DataModule,
    split: str,
    samples: Samples,
    position: int,
    row: int | None,
    drawn: Mapping[int, Picture],
) -> Picture | None:
    """A sample of the table; None if its files are missing or damaged."""
    if row is None:
        return None
    try:
        return drawn[row] if row in drawn else picture_of(task, data, split, row, samples, position)
    except InputError:
        return None
