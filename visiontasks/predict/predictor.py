"""Predictions of trained networks for new images: any number of files, folders, arrays, tensors or PIL images."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any, Self, cast

import torch

from visiontasks.cores import available_cores
from visiontasks.data import DataModule
from visiontasks.data.pipeline.memory import available_memory
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.outputs import Box, ClassProbability, Output
from visiontasks.outputs.base import P_KNOWN, SET, UNKNOWN
from visiontasks.outputs.geometry import Size
from visiontasks.predict.engine import Engine
from visiontasks.predict.ensemble import Ensemble
from visiontasks.predict.given import ImageInput, single_images
from visiontasks.predict.inputs import Prepared, in_batches, prepare
from visiontasks.predict.known_images import known_images
from visiontasks.predict.views import Tta
from visiontasks.recipe.checks import is_out_of_memory
from visiontasks.recipe.open_checkpoint import of_task, open_checkpoint
from visiontasks.recipe.open_run import FinishedRun, open_run
from visiontasks.tasks import Task
from visiontasks.units import counted

MOST_THREADS = 16
SHOWN = 3
"""Classes in the representation of a prediction."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The prediction of one image.

    Args:
        name: Its file as it was given; of an image without one its position in the input.
        size: Height and width of the original; None if it could not be read.
        output: What is predicted; None where there is an error.
        class_names: By class index.
        top: How many classes are named; None for all.
        error: Why nothing is predicted.
    """

    name: str
    size: Size | None = None
    output: Output | None = None
    class_names: tuple[str, ...] = ()
    top: int | None = None
    error: str | None = None

    def __repr__(self) -> str:
        what = "  ".join(self.output.lines(self.class_names, top=self.top or SHOWN)) if self.output else self.error
        return f"Prediction({self.name!r}: {what})"

    @property
    def label(self) -> str | None:
        """Name of the most probable class; None where `classes` is empty, as where there is an error."""
        return self.classes[0].name if self.classes else None

    @property
    def probability(self) -> float | None:
        """Probability of `label`, in 0..1; None without one, as of "unknown"."""
        value = self.classes[0].probability if self.classes else nan
        return None if isnan(value) else value

    @property
    def classes(self) -> tuple[ClassProbability, ...]:
        """Classes of the image as a whole, the most probable first; empty where the run predicts none.

        Of an image with one box they are those of the object in it.
        """
        return self.output.classes(self.class_names, self.top) if self.output else ()

    @property
    def class_set(self) -> tuple[ClassProbability, ...]:
        """The classes among which the true one is, with the promised coverage; empty without `coverage`."""
        return self.output.class_set(self.class_names) if self.output else ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """One for each object; empty where the run predicts none."""
        return self.output.named(self.class_names, self.top) if self.output else ()

    @property
    def mask(self) -> UInt8Array | None:
        """Class indices, uint8 (H, W) of the original; None where the run predicts none."""
        return self.output.mask if self.output else None


class Predictor:
    """Finished runs, ready to predict images. Several are averaged, see `visiontasks.predict.ensemble.Ensemble`.

    Images are read and resized as in the runs' own evaluation; networks compute in float32.

    Args:
        runs: With one task and the same classes in the same order; of any image sizes and networks.
        device: "auto" (an accelerator if there is one), "cpu", "cuda:1" and the like.
        batch_size: Images in a batch; by default those of the first run's recipe. Of a run with
            `resize: keep` images come one at a time.
        tta: Test-time augmentation, "flip" or "tencrop", see `visiontasks.predict.views.views`.
        top: How many classes are named; None for all.
        threshold: Score in 0..1 that a detection needs to be shown; by default the one that is best on the validation
            images, of several runs the mean of theirs.
        coverage: Share of images, above 0 and below 1, whose answer, a set of classes, holds the true one: of images
            that are like the run's validation images, see `visiontasks.tasks.calibration.Calibration`.
        unknown: Share of such images, above 0 and below 1, that may be called unknown, so that others which are unlike
            those of the training are, see `visiontasks.tasks.known_images.KnownImages`.
        engine: What computes the backbones, see `visiontasks.predict.engine`: "torch"; "onnx", which many
            convolutional networks are faster with on a CPU, and whose last bits differ; or "int8", see
            `visiontasks.predict.int8`.

    Raises:
        InputError: If runs do not fit together, or a value is out of range.
    """

    def __init__(
        self,
        runs: Sequence[FinishedRun],
        *,
        device: str = "auto",
        batch_size: int | None = None,
        tta: Tta | None = None,
        top: int | None = None,
        threshold: float | None = None,
        coverage: float | None = None,
        unknown: float | None = None,
        engine: Engine = "torch",
    ) -> None:
        if not all(isinstance(run, FinishedRun) for run in runs):
            raise InputError(
                'Predictor takes a list of opened runs; Predictor.load("runs/digits_resnet") reads folders'
            )
        if not runs:
            raise InputError("expected at least one run")
        for name, value in (("batch-size", batch_size), ("top", top)):
            if value is not None and value < 1:
                raise InputError(f"--{name}: {value}, expected at least 1")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"--threshold: {threshold}, expected 0 to 1")
        own_size = int(runs[0].recipe["data"]["init_args"].get("batch_size", 32))
        keeps_size = any(run.resize == "keep" for run in runs)
        self.ensemble = Ensemble(runs, chosen_device(device), tta, engine)
        self.batch_size = 1 if keeps_size else batch_size or own_size
        self.top = top
        self.threshold = threshold
        self._most_used = 0
        if threshold is not None and not self.ensemble.outputs.has_threshold:
            raise InputError(f"--threshold: {runs[0].folder} predicts no scores of detections: leave it out")
        self._least_probability = None if coverage is None else self._probability_for(coverage)
        self._false_alarms = unknown
        if unknown is not None:
            self._check_unknown(unknown)

    @classmethod
    def load(
        cls,
        *runs: str | os.PathLike[str],
        device: str = "auto",
        batch_size: int | None = None,
        tta: Tta | None = None,
        top: int | None = None,
        threshold: float | None = None,
        coverage: float | None = None,
        unknown: float | None = None,
        engine: Engine = "torch",
    ) -> Self:
        """Read runs by their folders, or folders of runs, of which the newest finished one is taken; see the class.

        A checkpoint's file is taken too: a run's best.ckpt or last.ckpt, or one that a Lightning trainer saved in
        `trainer.fit(task, data)` with a task and data of this package.

        Raises:
            MissingFileError: If the run or its checkpoint is missing.
            InputError: If one cannot be read, or they do not fit together.
        """
        paths = [Path(run) for run in runs]
        loaded = [
            open_checkpoint(path) if path.is_file() or path.suffix == ".ckpt" else open_run(path) for path in paths
        ]
        given: dict[str, Any] = {"tta": tta, "top": top, "threshold": threshold, "engine": engine}
        given |= {"coverage": coverage, "unknown": unknown}
        return cls(loaded, device=device, batch_size=batch_size, **given)

    @classmethod
    def of(
        cls,
        task: Task,
        data: DataModule,
        *,
        device: str = "auto",
        batch_size: int | None = None,
        tta: Tta | None = None,
        top: int | None = None,
        threshold: float | None = None,
        coverage: float | None = None,
        unknown: float | None = None,
        engine: Engine = "torch",
    ) -> Self:
        """Predict by a task in memory, as after `trainer.fit(task, data)`; see the class.

        Args:
            task: Is put into eval mode and onto the device.
            data: Of which names of classes and preparation of images are taken.
            device: See the class.
            batch_size: See the class.
            tta: See the class.
            top: See the class.
            threshold: See the class.
            coverage: See the class.
            unknown: See the class.
            engine: See the class.

        Raises:
            InputError: If the two do not fit together.
        """
        own = of_task(task, data)
        given: dict[str, Any] = {"tta": tta, "top": top, "threshold": threshold, "engine": engine}
        given |= {"coverage": coverage, "unknown": unknown}
        return cls([own], device=device, batch_size=batch_size, **given)

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index, as in masks."""
        return self.ensemble.class_names

    def columns(self, top: int) -> list[str]:
        """Names of the values in the rows of a prediction, of which at most `top` classes are named."""
        known = [] if self._false_alarms is None else [P_KNOWN]
        return [*self.ensemble.columns(top), *known, *([] if self._least_probability is None else [SET])]

    def __repr__(self) -> str:
        runs = ", ".join(str(run.folder) for run in self.ensemble.runs)
        device, classes = self.ensemble.device, counted(len(self.class_names), "class", "classes")
        return f"{type(self).__name__}({runs}: {self.ensemble.outputs.__name__}, {classes}, {device})"

    def __call__(self, images: ImageInput | Iterable[ImageInput]) -> list[Prediction]:
        """Predict images, all of whose predictions are held; see `stream`.

        Args:
            images: See `stream`.
        """
        return list(self.stream(images))

    def stream(self, images: ImageInput | Iterable[ImageInput]) -> Generator[Prediction, None, None]:
        """Predict images one by one as they are asked for; memory does not grow with their number.

        Images are decoded in threads: the next ones while an accelerator computes; on a CPU before the networks do, for
        which the two would otherwise be in each other's way.

        Args:
            images: Files, folders, globs, RGB arrays, tensors, images of PIL, or an iterable of these, which may be a
                generator without end; see `visiontasks.predict.given.single_images`.

        Yields:
            A prediction for each, in their order. Of an image that cannot be read, or is too large, it has the error;
            so has an entry of an iterable that is missing or cannot be taken.

        Raises:
            MissingFileError: If a file, folder or glob that is given alone names no image.
            InputError: If what is given alone cannot be taken, or the memory does not suffice for a batch.
        """
        on_cpu = self.ensemble.device.type == "cpu"
        batches = in_batches(
            lambda item: prepare(*item, self.ensemble.preprocessings),
            enumerate(single_images(images)),
            size=self.batch_size,
            threads=min(MOST_THREADS, available_cores() if on_cpu else max(1, available_cores() - 1)),
            ahead=not on_cpu,
        )
        with closing(batches):
            for batch in batches:
                yield from self._predict([self._checked(image) for image in batch])

    def _probability_for(self, coverage: float) -> float:
        """What a class needs to be in the set of an image."""
        (run, *others), option = self.ensemble.runs, "--coverage"
        self._check_as_validated(option, others)
        if not run.task.outputs.has_one_class:
            raise InputError(f"{option}: {run.folder} predicts no class of a whole image: leave it out")
        if run.task.calibration is None:
            raise InputError(
                f"{option}: {run.folder} stores no probabilities of its validation images, since an earlier version "
                "trained it: train it again"
            )
        try:
            return run.task.calibration.least_probability(coverage)
        except InputError as error:
            raise InputError(f"{option}: {error}") from error

    def _check_unknown(self, false_alarms: float) -> None:
        """Look at the run's own images, where its folder does not store what they look like."""
        (run, *others), option = self.ensemble.runs, "--unknown"
        self._check_as_validated(option, others)
        if UNKNOWN in run.class_names:
            raise InputError(
                f"{option}: {run.folder} has a class {UNKNOWN!r} already: leave it out, or rename the class"
            )
        try:
            known_images(run).check(false_alarms)
        except InputError as error:
            raise InputError(f"{option}: {error}") from error

    def _check_as_validated(self, option: str, others: Sequence[FinishedRun]) -> None:
        """Refuse what a promise that validation images gave does not hold for."""
        ensemble = self.ensemble
        given = [
            *(["several runs"] if others else []),
            *([f"--tta {ensemble.tta}"] if ensemble.tta else []),
            *([f"--engine {ensemble.engine}"] if ensemble.engine == "int8" else []),
        ]
        if given:
            raise InputError(f"{option}: the promise is of one run's own probabilities, not with {' and '.join(given)}")

    def _predict(self, group: Sequence[Prepared]) -> Iterator[Prediction]:
        """Predict a batch; the networks get only what could be read."""
        readable = [image for image in group if image.error is None]
        outputs = self.ensemble.predict(readable) if readable else iter(())
        for image in group:
            if image.error is not None:
                yield Prediction(image.name, image.size, error=image.error)
                continue
            try:
                output = next(outputs)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                cause = str(error).strip().partition("\n")[0]
                raise InputError(
                    f"out of memory with batches of {self.batch_size}: make them smaller (--batch-size) ({cause})"
                ) from error
            if self.threshold is not None:
                output = output.with_threshold(self.threshold)
            if self._least_probability is not None:
                output = output.with_set(self._least_probability)
            if self._false_alarms is not None:
                output = output.with_unknown(self._false_alarms)
            yield Prediction(image.name, image.size, output, self.class_names, self.top)

    def _checked(self, image: Prepared) -> Prepared:
        """The image, or why it is too large."""
        if image.error is not None:
            return image
        height, width = cast(Size, image.size)
        needed = self.ensemble.memory(height * width)
        if needed <= self._most_used:  # memory that was used once is reused
            return image
        free = _free_memory(self.ensemble.device)
        if needed <= free:
            self._most_used = needed
            return image
        return Prepared(
            image.name,
            image.size,
            error=f"{width}x{height} pixels, which take {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are "
            "free; shrink the image, or cut it into parts",
        )


def chosen_device(name: str) -> torch.device:
    """The device of a name; of "auto" the accelerator if there is one, else the CPU.

    Raises:
        InputError: If this machine has no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        cause = str(error).strip().partition("\n")[0]
        raise InputError(f"--device {name}: cannot be used here ({cause}); expected auto, cpu, or cuda:0") from error
    return device


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    return available_memory()
