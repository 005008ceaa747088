"""A finished training in Python: its metrics, its network, its predictions and its report."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.explain import Explanation, Method, explain
from visiontasks.commands.inside import inside_python, python_words
from visiontasks.errors import InputError
from visiontasks.export import Exported, Format, export
from visiontasks.notebook import ShownPage
from visiontasks.predict.given import ImageInput
from visiontasks.predict.predictor import Prediction, Predictor
from visiontasks.predict.views import Tta
from visiontasks.recipe import open_run as opening
from visiontasks.recipe.open_run import FinishedRun
from visiontasks.results.report import report
from visiontasks.runs.folder import REPORT, RESULT, find_run, read_result
from visiontasks.tasks.base import Split
from visiontasks.tasks.network import Network


class Metrics(dict[str, float]):
    """What was measured, by name: `metrics["test/top1"]`.

    Args:
        entries: As result.json has them: value, n, and where there are any count and interval95.

    Attributes:
        entries: The same.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__({name: float(entry["value"]) for name, entry in entries.items()})
        self.entries = entries

    def __missing__(self, name: str) -> float:
        known = ", ".join(self) or "nothing, since the training did not finish"
        near = get_close_matches(name, self, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]!r}?" if near else "."
        raise KeyError(f"no metric {name!r}{hint} Measured: {known}")

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each metric that has one: lower and upper end."""
        found = {name: entry.get("interval95") for name, entry in self.entries.items()}
        return {name: (float(ends[0]), float(ends[1])) for name, ends in found.items() if ends}

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Name, value, interval and number of samples as text."""
        intervals = {name: f"{low:.4f} - {high:.4f}" for name, (low, high) in self.intervals.items()}
        return [
            (name, f"{value:.4f}", intervals.get(name, ""), f"{self.entries[name]['n']:,}")
            for name, value in self.items()
        ]

    def _repr_html_(self) -> str:
        return table(self.rows())


class Run:
    """A finished training, as `visiontasks.finetune` returns and `visiontasks.open_run` opens it.

    The network is read from the folder when it is first needed: that of the epoch that was best on validation.

    Args:
        folder: The run's folder, with recipe.yaml and checkpoints/best.ckpt.

    Attributes:
        folder: The same.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = find_run(os.fspath(folder))

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of result.json: metrics, times, versions; empty for a run that did not come to its end.

        Raises:
            InputError: If it cannot be read.
        """
        return read_result(self.folder) if (self.folder / RESULT).is_file() else {}

    @property
    def metrics(self) -> Metrics:
        """What was measured on the test split (on val, where the data has no test split), by name: test/top1."""
        return Metrics(self.result.get("metrics") or {})

    @cached_property
    def finished(self) -> FinishedRun:
        """The run as other parts of the package open it: task, provenance, recipe.

        Raises:
            InputError: If its checkpoint cannot be read.
        """
        return opening.open_run(self.folder)

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index."""
        return self.finished.class_names

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of the network's input."""
        return self.finished.image_size

    @cached_property
    def model(self) -> Network:
        """The network as a plain torch module, in eval mode, float32, on the CPU; see `Network` for what it takes.

        It is a copy of its own: what is done to it changes no prediction of this run.
        """
        return Network(opening.open_run(self.folder).task)

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        device: str = "auto",
        batch_size: int | None = None,
        tta: Tta | None = None,
        top: int | None = None,
        coverage: float | None = None,
        unknown: float | None = None,
    ) -> list[Prediction]:
        """Predict images; `Predictor.stream` does so one by one.

        Args:
            images: A file, folder, glob, array, tensor, image of PIL, or a list of these, see
                `visiontasks.predict.given.single_images`.
            device: See `Predictor`.
            batch_size: See `Predictor`.
            tta: See `Predictor`.
            top: See `Predictor`.
            coverage: See `Predictor`.
            unknown: See `Predictor`.

        Returns:
            A prediction for each image, in order, folders in natural order: `label`, `probability`, `classes`, `boxes`,
            `mask`, or the `error` of one that cannot be read.

        Raises:
            MissingFileError: If there are no images.
            InputError: If what is given alone is no image, or an option is out of range.
        """
        with python_words():
            options: dict[str, Any] = {"tta": tta, "top": top, "coverage": coverage, "unknown": unknown}
            return Predictor([self.finished], device=device, batch_size=batch_size, **options)(images)

    def evaluate(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        split: Split = "test",
        overrides: Mapping[str, Any] | None = None,
    ) -> Metrics:
        """Measure the run again, and write predictions, pictures and a report into its folder.

        Args:
            root: A folder of other images of the same classes; by default the run's own data.
            split: "test" or "val".
            overrides: Recipe keys and values: {"data.batch_size": 8}.

        Raises:
            InputError: If the data cannot be read or has other classes.
        """
        if split not in ("test", "val"):
            raise InputError(f"split {split!r}: expected test or val")
        own = {} if root is None else {"data.root": os.fspath(root)}
        words = as_words({**own, **(overrides or {})})
        with python_words(), inside_python():
            return Metrics(evaluate(self.folder, words, split=split)["metrics"])

    def report(self) -> ShownPage:
        """The report of the run, which a notebook shows inline; `path` is its file.

        Raises:
            InputError: If it has to be written, but a file of the run cannot be read.
        """
        path = self.folder / REPORT
        if not path.is_file():
            with python_words(), inside_python():
                path = report(str(self.folder), [])
        return ShownPage(path)

    def explain(
        self,
        image: str | os.PathLike[str],
        *,
        class_name: str | None = None,
        methods: Sequence[Method] = (),
        device: str = "auto",
    ) -> Explanation:
        """Write pictures of what in an image a class depends on, see `visiontasks.commands.explain.explain`."""
        path = Path(os.fspath(image))
        with python_words(), inside_python():
            return explain(self.folder, path, class_name=class_name, methods=methods, device=device)

    def export(self, folder: str | os.PathLike[str], *, form: Format = "folder") -> Exported:
        """Write the run for other programs, see `visiontasks.export.export`."""
        with python_words(), inside_python():
            return export(self.folder, os.fspath(folder), form=form)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        values = [f"{name} {value:.4f}" for name, value in list(self.metrics.items())[:1]]
        return f"Run({', '.join([repr(str(self.folder)), *values])})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self.folder))}</p>{table(self.metrics.rows())}"


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Open a finished run, or the newest finished one in a folder of runs such as runs/digits_resnet.

    Raises:
        MissingFileError: If there is no run, or it has no checkpoint.
        InputError: If its checkpoint cannot be read, or it is a file.
    """
    path = Path(folder)
    if path.is_file():
        raise InputError(f"{path} is a file: give the folder of a run; Predictor.load(path) takes a checkpoint too")
    run = Run(path)
    run.finished  # noqa: B018  (an error about the checkpoint belongs here)
    return run


def table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Metrics as HTML that takes its looks from the notebook."""
    header = "".join(f"<th>{name}</th>" for name in ("metric", "value", "95 % interval", "n"))
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><tr>{header}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def as_words(overrides: Mapping[str, Any]) -> list[str]:
    """Recipe keys and values as words of a command line: {"trainer.max_epochs": 3} as --trainer.max_epochs=3."""
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in overrides.items()]
