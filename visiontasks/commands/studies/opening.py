"""What the questions of `study` share: the data, its features with their progress, and the form of an answer."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from visiontasks.backbones import create_vector
from visiontasks.data import DataModule, sample_name
from visiontasks.data.pipeline.reduction import reduction
from visiontasks.data.pipeline.sources import sample_path
from visiontasks.errors import InputError, printable
from visiontasks.predict.inputs import Preprocessing, preprocessing_of
from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import recipe_parts
from visiontasks.recipe.open_run import FinishedRun, open_run
from visiontasks.regular_files import read_json
from visiontasks.runs.checkpoint import write_text
from visiontasks.runs.folder import is_finished, read_result
from visiontasks.study.extractors import Extractor, fine_tuned, pretrained
from visiontasks.study.features import SPLITS, Features, OnImages, image_features
from visiontasks.study.folder_features import FolderFeatures, folder_features

SETTINGS = "study.json"
"""What a study of trainings was begun with."""


@dataclass(frozen=True)
class Answer:
    """What a question was answered with.

    Args:
        folder: Of the studies of these images, where JSON and page go.
        lines: For the terminal.
        content: What JSON and page have.
        title: Of the page; by default the folder's name.
    """

    folder: Path
    lines: Sequence[str]
    content: dict[str, Any]
    title: str = ""


@dataclass(frozen=True, eq=False)
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
        with counted_images() as on_images:
            return image_features(self.data, self.extractor, splits=splits, on_images=on_images)

    def folder_features(self, files: Sequence[str]) -> FolderFeatures:
        """Of image files without labels, prepared as those of the data."""
        data = self.data
        least_size = reduction(data.image_size, data.resize, None)
        preprocessing = Preprocessing(data.image_size, data.resize, least_size, data.max_16bit)
        with counted_images() as on_images:
            return folder_features(files, preprocessing, self.extractor, on_images=on_images)

    @cached_property
    def extractor(self) -> Extractor:
        """The frozen backbone."""
        return pretrained(create_vector(self.backbone, weights=self.weights, image_size=self.data.image_size))


@dataclass(frozen=True, eq=False)
class RunSubject:
    """A finished run that a question is about, and the images that it was trained on.

    Args:
        trained: The run.
        data: Its data after `setup()`.
        folder: Of its studies.
    """

    trained: FinishedRun
    data: DataModule
    folder: Path

    @property
    def title(self) -> str:
        """Recipe and start time."""
        folder = self.trained.folder.resolve()
        return f"{folder.parent.name}/{folder.name}"

    def features(self, splits: Sequence[str] = SPLITS) -> Features:
        """Of the run's images, by its own backbone, while a bar shows how far it is."""
        with counted_images() as on_images:
            return image_features(self.data, fine_tuned(self.trained), splits=splits, on_images=on_images)

    def folder_features(self, files: Sequence[str]) -> FolderFeatures:
        """Of image files, read as `visiontasks predict` does."""
        preprocessing = preprocessing_of(self.trained, self.trained.image_size)
        with counted_images() as on_images:
            return folder_features(files, preprocessing, fine_tuned(self.trained), on_images=on_images)


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


def open_run_subject(arguments: argparse.Namespace, overrides: Sequence[str]) -> RunSubject:
    """The run that was chosen with its own data, which may have been moved (`--data.root`).

    Raises:
        InputError: If the run does not classify images, or the images are not those that it was trained on.
    """
    trained = open_run(arguments.run)
    fine_tuned(trained)  # refuses what has no features before any image is read
    data = trained.data(overrides, split="val")
    data.prepare_data()
    data.setup()
    _check_own(trained, data)
    return RunSubject(trained, data, arguments.out or trained.folder / "study")


def _check_own(trained: FinishedRun, data: DataModule) -> None:
    """Refuse images that are more or fewer than those of the training."""
    if not is_finished(trained.folder):
        return
    splits = read_result(trained.folder).get("data", {}).get("splits", {})
    other = [name for name, count in splits.items() if data.split_sizes.get(name) != count]
    if other:
        found, root = data.split_sizes.get(other[0], 0), getattr(data, "root", "its data")
        raise InputError(
            f"{trained.folder} was trained with {splits[other[0]]:,} {other[0]} images, but {root} has {found:,}: "
            "name the images of its training (--data.root)"
        )


@contextmanager
def counted_images() -> Iterator[OnImages]:
    """A bar of images, and what moves it."""
    with progress() as bar:
        task = bar.add_task("features", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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
