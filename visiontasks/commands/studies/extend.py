"""`study extend`: classes that are added to a run, without training its network."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, RunSubject, open_run_subject
from visiontasks.commands.tables import table
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.ops.metrics import wilson_interval
from visiontasks.outputs.base import Float32Array
from visiontasks.runs.folder import make_run_dir, new_run_dir
from visiontasks.study.extend import ExtendStudy, Linear, extend_head, study_extended
from visiontasks.study.extended_run import (
    NewImages,
    divided_images,
    extended_task,
    find_new_images,
    linear_head,
    top1,
    write_extended,
)
from visiontasks.study.folder_features import FolderFeatures

Parts = Mapping[str, tuple[Float32Array, Int64Array]]
"""Features and labels of all classes by split."""


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Add classes, and write a run that has them.

    Raises:
        InputError: If an old class is predicted worse than before by more than chance, unless that is allowed.
    """
    subject = open_run_subject(arguments, overrides)
    old, known = linear_head(subject.trained), subject.trained.class_names
    new = find_new_images(Path(arguments.new), known)
    images = subject.folder_features(new.files)
    parts = _parts(subject, new, images)
    names = [*known, *new.class_names]
    head = extend_head(old, *parts["train"], *parts["val"], added=len(new.class_names))
    study = study_extended(old, head, *parts["val"], names, trained=len(parts["train"][1]))
    if study.fallen and not arguments.allow_fall:
        raise InputError(_fallen(study))
    folder = make_run_dir(arguments.out) if arguments.out else _beside(subject.trained.folder)
    test = _accuracy(head, *parts["test"]) if "test" in parts else None
    splits = {split: len(labels) for split, (_, labels) in parts.items()}
    write_extended(folder, subject.trained, extended_task(subject.trained, head), study, splits=splits, test=test)
    lines = [*_lines(study, test), *(f"{file}: {error}" for file, error in list(images.errors.items())[:20])]
    content = {**study.content(), "errors": dict(images.errors), "test": test}
    resolved = folder.resolve()
    return Answer(folder / "study", [*lines, f"run: {folder}"], content, f"{resolved.parent.name}/{resolved.name}")


def _parts(subject: RunSubject, new: NewImages, images: FolderFeatures) -> Parts:
    features = subject.features()
    labels = np.array([new.labels[file] for file in images.files], dtype=np.int64)
    rows = divided_images(new, images, subject.data, has_test="test" in subject.data.split_sizes)
    parts = {}
    for split, of_split in rows.items():
        own = features.splits == split
        parts[split] = (
            np.concatenate([features.vectors[own], images.vectors[of_split]]),
            np.concatenate([features.labels[own], len(features.class_names) + labels[of_split]]),
        )
    return parts


def _beside(run: Path) -> Path:
    folder = run.resolve().parent
    return new_run_dir(folder.parent, folder.name)


def _accuracy(head: Linear, vectors: Float32Array, labels: Int64Array) -> dict[str, Any]:
    right = int((head.predicted(vectors) == labels).sum())
    return top1(right, len(labels), wilson_interval(right, len(labels)))


def _fallen(study: ExtendStudy) -> str:
    found = [each for each in study.classes if each.name in study.fallen]
    texts = [f"{each.name} (from {each.before} to {each.after} of {each.n} validation images)" for each in found]
    return (
        f"predicted worse than before by more than chance: {listed(texts)}; train with all classes (finetune), or add "
        "images; --allow-fall writes the run all the same"
    )


def _lines(study: ExtendStudy, test: Mapping[str, Any] | None) -> list[str]:
    rows = [
        {
            "class": each.name,
            "n": f"{each.n:,}",
            "before": "new" if each.is_new else f"{each.before:,}",
            "after": f"{each.after:,}",
            "interval": f"{each.low:.3f}-{each.high:.3f}",
            "p": "" if each.is_new else f"{each.p:.2g}",
        }
        for each in study.classes
    ]
    columns = ("class", "n", "before", "after", "interval", "p")
    lines = [*table(rows, (columns, (*columns[:4], "p")), terminal_width(), right=columns[1:]), ""]
    lines.append(
        f"validation: {study.right / study.n:.4f} ({study.low:.4f} to {study.high:.4f}), n = {study.n:,} images; p: "
        "that an old class loses so many by chance"
    )
    if test is not None:
        low, high = test["interval95"]
        lines.append(f"test: {test['value']:.4f} ({low:.4f} to {high:.4f}), n = {test['n']:,} images")
    if study.fallen:
        lines.append(f"predicted worse than before by more than chance: {listed(study.fallen)}")
    return lines
