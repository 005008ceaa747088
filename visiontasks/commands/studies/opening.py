"""What the questions of `study` share: the data, its features with their progress, and the form of an answer."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from visiontasks.backbones import create_vector
from visiontasks.data import DataModule, sample_name
from visiontasks.data.pipeline.sources import sample_path
from visiontasks.errors import InputError, printable
from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import recipe_parts
from visiontasks.regular_files import read_json
from visiontasks.runs.checkpoint import write_text
from visiontasks.study.features import SPLITS, Features, image_features

SETTINGS = "study.json"
"""What a study of trainings was begun with."""


@dataclass(frozen=True)
class Answer:
    """What a question was answered with.

    Args:
        folder: Of the studies of these images, where JSON and page go.
        lines: For the terminal.
        content: What JSON and page have.
    """

    folder: Path
    lines: Sequence[str]
    content: dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """The images that a question is about.

    Args:
        data: After `setup()`.
        backbone: The recipe's.
        weights: Where the backbone's are from.
        folder: Of their studies.
    """

    data: DataModule
    backbone: str
    weights: str
    folder: Path

    def features(self, splits: Sequence[str] = SPLITS) -> Features:
        """Of the images of some splits, by the frozen backbone, while a bar shows how far it is."""
        network = create_vector(self.backbone, weights=self.weights, image_size=self.data.image_size)
        with progress() as bar:
            task = bar.add_task("features", total=None)
            return image_features(
                self.data,
                network,
                splits=splits,
                on_images=lambda done, total: bar.update(task, completed=done, total=total),
            )


def open_subject(arguments: argparse.Namespace, overrides: Sequence[str]) -> Subject:
    """The data and the backbone of the recipe that was chosen; prints what there is to say of the data.

    Raises:
        InputError: If the data cannot be read.
    """
    data, backbone, weights = recipe_parts(find_recipe(arguments.recipe), overrides)
    data.prepare_data()
    data.setup()
    for note in data.notes:
        print(printable(f"note: {note}"), flush=True)
    return Subject(data, backbone, weights, arguments.out or Path("studies") / data_name(data))


def progress() -> Progress:
    """A bar on a terminal's stderr; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def data_name(data: DataModule) -> str:
    """What the folder of its studies is called: like that of the images, or the class."""
    root = getattr(data, "root", None)
    return type(data).__name__ if root is None else Path(root).resolve().name


def sample_files(data: DataModule, split: str = "test") -> list[str]:
    """Of the samples of a split: files from the data's root on, or rows."""
    source, root = data.source(split), getattr(data, "root", None)
    paths = [Path(sample_path(source, row) or sample_name(source, row)) for row in range(len(source))]
    return [
        (path.relative_to(root) if root is not None and path.is_relative_to(root) else path).as_posix()
        for path in paths
    ]


def check_settings(folder: Path, recipe: Path, overrides: Sequence[str], parts: Sequence[Sequence[str]]) -> None:
    """Refuse to go on with trainings of another recipe or other images; begin a new study."""
    parts_text = "\n\n".join("\n".join(part) for part in parts)
    settings = {
        "recipe": recipe.read_text(encoding="utf-8"),
        "options": list(overrides),
        f"{len(parts)} parts of the images": blake2b(parts_text.encode(errors="surrogateescape")).hexdigest()[:32],
    }
    file = folder / SETTINGS
    before = read_json(file) if file.is_file() else {}
    other = [name for name, value in settings.items() if before.get(name, value) != value]
    if other:
        raise InputError(
            f"{folder}/ has trainings of other {' and '.join(other)}: give --out another folder, or remove {folder}/"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({**before, **settings}, indent=2) + "\n")
