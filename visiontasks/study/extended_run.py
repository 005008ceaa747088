"""A run whose head has more classes than the one it was made from: its images, and its folder, which predict opens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from visiontasks.backbones import save_config
from visiontasks.class_names import normalized
from visiontasks.data.pipeline.duplicates import near_groups
from visiontasks.data.pipeline.files import class_folders, image_files, listed
from visiontasks.data.pipeline.sources import Int64Array, divide
from visiontasks.errors import InputError, MissingFileError
from visiontasks.heads import LinearHead
from visiontasks.recipe.build import build_task
from visiontasks.recipe.open_run import FinishedRun, normalize_by
from visiontasks.runs.checkpoint import write_checkpoint, write_text
from visiontasks.runs.folder import BACKBONE, BEST, RECIPE, RESULT
from visiontasks.runs.provenance import ENTRY, versions
from visiontasks.study.extend import ExtendStudy, Linear
from visiontasks.study.folder_features import FolderFeatures
from visiontasks.tasks import Task

LEAST_OF_CLASS = 10
"""Images of a new class, near duplicates counted once."""


@dataclass(frozen=True, eq=False)
class NewImages:
    """Image files of classes that are to be added.

    Args:
        class_names: In natural order.
        files: Their images.
        labels: By file, the position in `class_names`.
    """

    class_names: Sequence[str]
    files: Sequence[str]
    labels: Mapping[str, int]


def find_new_images(folder: Path, known: Sequence[str]) -> NewImages:
    """The images in class folders, of classes that a run does not have.

    Raises:
        MissingFileError: If there is no such folder.
        InputError: If it has no class folders, or some of classes that the run has.
    """
    if not folder.is_dir():
        raise MissingFileError(f"no folder {folder}: name one with a folder of images for each new class")
    names = class_folders(folder)
    if not names:
        raise InputError(f"{folder} has no class folders: expected {folder}/<new class>/ with images")
    there = [name for name in names if normalized(name) in map(normalized, known)]
    if there:
        raise InputError(
            f"{folder} has classes that the run has already: {listed(there)}; leave them out (more images of them take "
            "a training)"
        )
    found = image_files(folder / name for name in names)
    labels = {file: label for label, files in enumerate(found) for file in files}
    return NewImages([normalized(name) for name in names], list(labels), labels)


def divided_images(new: NewImages, images: FolderFeatures, data: Any, *, has_test: bool) -> Mapping[str, Int64Array]:
    """Rows of the new images by split, near duplicates together and each class alike, in the shares of the run's data.

    Args:
        new: The images.
        images: Features of those that could be read.
        data: The run's.
        has_test: Whether the run has a test split.

    Raises:
        InputError: If a class has too few images.
    """
    labels = np.array([new.labels[file] for file in images.files], dtype=np.int64)
    groups = near_groups(images.hashes, images.thumbnails)
    single = np.unique(groups)
    counts = np.bincount(labels[single], minlength=len(new.class_names))
    few = [f"{name} ({n})" for name, n in zip(new.class_names, counts.tolist(), strict=True) if n < LEAST_OF_CLASS]
    if few:
        raise InputError(
            f"{LEAST_OF_CLASS} images of each new class are needed that can be read, near duplicates counted once; too "
            f"few of {listed(few)}: add images"
        )
    val, test = (float(getattr(data, name, 0.2)) for name in ("val_fraction", "test_fraction"))
    test = test if 0 < test < 1 else 0.2
    parts = divide(
        labels[single],
        val_fraction=val,
        test_fraction=test if has_test else 0.0,
        seed=int(getattr(data, "split_seed", 0)),
    )
    return {split: np.flatnonzero(np.isin(groups, single[rows])) for split, rows in parts.items()}


def linear_head(trained: FinishedRun) -> Linear:
    """The head of a run.

    Raises:
        InputError: If it is not a linear one.
    """
    head = trained.task.head
    if not isinstance(head, LinearHead):
        raise InputError(f"{trained.folder} has a {type(head).__name__}: classes are added to a LinearHead only")
    weight, bias = (each.detach().double().numpy() for each in (head.linear.weight, head.linear.bias))
    return Linear(weight, bias)


def extended_task(trained: FinishedRun, head: Linear) -> Task:
    """The run's task with another head, in eval mode."""
    options: dict[str, Any] = {"num_classes": len(head.bias), "weights": "none", "class_weights": None}
    if (trained.folder / BACKBONE).is_dir():
        options["backbone"] = f"local-dir:{trained.folder / BACKBONE}"
    path = trained.folder / RECIPE
    task = build_task(trained.recipe["model"], options, image_size=trained.image_size, path=path)
    task.backbone.load_state_dict(trained.task.backbone.state_dict())
    weight, bias = (torch.from_numpy(each).float() for each in (head.weight, head.bias))
    task.head.load_state_dict({"linear.weight": weight, "linear.bias": bias})
    normalize_by(task, trained.provenance, path)
    return task.eval()


def write_extended(
    folder: Path,
    trained: FinishedRun,
    task: Task,
    study: ExtendStudy,
    *,
    splits: Mapping[str, int],
    test: Mapping[str, Any] | None = None,
) -> None:
    """Write a run's folder.

    Args:
        folder: It is there, and empty.
        trained: The run that was extended.
        task: With the new head.
        study: What it reaches on the validation images.
        splits: Images of each split.
        test: The entry of test/top1 in result.json.
    """
    names = [each.name for each in study.classes]
    content = {**trained.recipe, "model": dict(trained.recipe["model"]), "data": dict(trained.recipe["data"])}
    content["model"]["init_args"] = {**content["model"]["init_args"], "class_weights": None}
    if content["data"]["init_args"].get("classes"):
        content["data"]["init_args"] = {**content["data"]["init_args"], "classes": names}
    added = ", ".join(each.name for each in study.classes if each.is_new)
    title = f"# {trained.folder}, extended by {added}; data.root has the images of the other classes alone.\n"
    recipe = (
        "".join(c if c.isprintable() else "?" for c in title[:-1]) + "\n" + yaml.safe_dump(content, sort_keys=False)
    )
    provenance = replace(trained.provenance, recipe=recipe, class_names=tuple(names), versions=versions())
    checkpoint = {"state_dict": task.state_dict(), ENTRY: provenance.to_dict()}
    task.on_save_checkpoint(checkpoint)
    write_text(folder / RECIPE, recipe)
    save_config(task.backbone, folder / BACKBONE)
    write_checkpoint(checkpoint, folder / BEST)
    val = top1(study.right, study.n, (study.low, study.high))
    result = {
        "recipe": trained.folder.resolve().parent.name,
        "task": type(task).__name__,
        "split": "val" if test is None else "test",
        "metrics": {"val/top1": val, **({} if test is None else {"test/top1": test})},
        "data": {"splits": dict(splits), "classes": names},
        "versions": versions(),
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_text(folder / RESULT, json.dumps(result, indent=2) + "\n")


def top1(right: int, n: int, interval: tuple[float, float]) -> dict[str, Any]:
    """An accuracy as result.json has it."""
    return {"value": right / n, "n": n, "count": right, "interval95": list(interval)}
