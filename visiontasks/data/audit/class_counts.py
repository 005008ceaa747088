"""How often each class occurs in each split, for a run's result.json and report."""

from typing import Any

import numpy as np

from visiontasks.data.base import DataModule
from visiontasks.data.formats.split_folders import SPLITS
from visiontasks.data.pipeline.sources import Int64Array, annotation

MOST_DECODED = 100
"""Samples of a split, evenly chosen, whose annotation is decoded where counting takes that."""


def class_counts(data: DataModule) -> dict[str, Any]:
    """Count the classes of all splits, after `setup()`.

    Returns:
        `unit`, what is counted; `splits`, for each the counts by class index; and `sampled`, the number of samples that
        were counted of the splits that are not counted as a whole.

    Raises:
        InputError: If an annotation cannot be read.
    """
    splits = sorted(data.split_sizes, key=SPLITS.index)
    counts: dict[str, list[int]] = {}
    sampled: dict[str, int] = {}
    for split in splits:
        size = data.split_sizes[split]
        if not data.counts_by_decoding:
            found = data.count_classes(data.source(split))
        else:
            rows = np.unique(np.linspace(0, size - 1, min(size, MOST_DECODED)).astype(int)).tolist()
            found = _decoded(data, split, rows)
            sampled |= {split: len(rows)} if len(rows) < size else {}
        counts[split] = [int(count) for count in found]
    return {"unit": data.target.unit, "splits": counts} | ({"sampled": sampled} if sampled else {})


def _decoded(data: DataModule, split: str, rows: list[int]) -> Int64Array:
    source, total = data.source(split), np.zeros(data.num_classes, np.int64)
    for row in rows:
        found = data.target.decoded_counts(annotation(source, row))
        total += 0 if found is None else found[: data.num_classes]
    return total
