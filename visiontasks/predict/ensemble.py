"""Networks of several runs and several views of an image, whose predictions are averaged."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import get_args

import torch

from visiontasks.class_names import missing_names, same_names
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.loader import collate
from visiontasks.errors import InputError
from visiontasks.outputs import Output
from visiontasks.predict.engine import Engine, Extractor, float_extractor, with_features
from visiontasks.predict.inputs import Prepared, Preprocessing, preprocessing_of
from visiontasks.predict.int8 import int8_extractor
from visiontasks.predict.memory import bytes_per_pixel
from visiontasks.predict.views import Batch, Tta, View, resized_for, views
from visiontasks.recipe.open_run import FinishedRun
from visiontasks.tasks import Task
from visiontasks.units import counted


class Ensemble:
    """The networks of one or several runs, whose predictions of an image are averaged over views and runs.

    A single run without test-time augmentation predicts what its evaluation measured. Otherwise the mean is that of the
    output (`Output.mean`): of probabilities, of masks those of each pixel at the size of the original image, and of the
    boxes' coordinates (each box is that of its own network's most probable class). All runs count alike.

    Args:
        runs: With one output and the same classes in the same order; of any image sizes and networks.
        device: Where they compute.
        tta: Test-time augmentation, see `visiontasks.predict.views.views`.
        engine: What computes the backbones: torch, ONNX Runtime, or that in 8-bit integers; see
            `visiontasks.predict.engine` and `visiontasks.predict.int8`.

    Attributes:
        preprocessings: The different ways in which images become the networks' inputs, for
            `visiontasks.predict.inputs.prepare`.

    Raises:
        InputError: If runs do not fit together or to `tta`, or `engine` cannot compute one of them.
    """

    def __init__(
        self, runs: Sequence[FinishedRun], device: torch.device, tta: Tta | None, engine: Engine = "torch"
    ) -> None:
        _check_fit(runs)
        _check_views(runs, tta)
        self.runs = tuple(runs)
        self.device = device
        self.tta = tta
        for run in runs:
            run.task.to(device)
        wanted = [preprocessing_of(run, resized_for(run.image_size, tta)) for run in runs]
        self.preprocessings: tuple[Preprocessing, ...] = tuple(dict.fromkeys(wanted))
        self.engine = engine
        self._extractors = [_extractor(run, device, engine) for run in runs]
        self._position = [self.preprocessings.index(preprocessing) for preprocessing in wanted]

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index."""
        return self.runs[0].class_names

    @property
    def outputs(self) -> type[Output]:
        """What is predicted."""
        return self.runs[0].task.outputs

    def columns(self, top: int) -> list[str]:
        """Names of the values in the rows of a prediction, of which at most `top` classes are named."""
        named = min(top, len(self.class_names)) if self.runs[0].task.predicts_classes else 0
        return self.outputs.columns(named)

    def memory(self, num_pixels: int) -> int:
        """Bytes that an image of so many pixels takes beside what any image takes."""
        num_averaged = 1 if len(self.runs) == 1 and self.tta is None else 2
        mean = self.outputs.bytes_per_pixel(len(self.class_names), num_averaged)
        return int(num_pixels * (mean + self._bytes_per_pixel))

    @cached_property
    def _bytes_per_pixel(self) -> float:
        """Of the networks that get images in one piece at their own size."""
        whole = [run for run in self.runs if run.resize == "keep" and getattr(run.task, "window", None) is None]
        return max((bytes_per_pixel(run.task.predict, self.device) for run in whole), default=0)

    @torch.inference_mode()
    def predict(self, images: Sequence[Prepared]) -> Iterator[Output]:
        """Predict images that could be read, one after the other."""
        batches = [_batch(images, position, self.device) for position in range(len(self.preprocessings))]
        of_views = [
            _predictions(run.task, extract, view)
            for run, extract, position in zip(self.runs, self._extractors, self._position, strict=True)
            for view in views(batches[position], self.tta, run.image_size)
        ]
        for _ in images:
            yield self.outputs.mean(map(next, of_views))


def _extractor(run: FinishedRun, device: torch.device, engine: Engine) -> Extractor | None:
    """What computes a run's features; None for torch."""
    if engine not in get_args(Engine):
        raise InputError(f"--engine {engine}: expected one of {', '.join(get_args(Engine))}")
    if engine == "torch":
        return None
    if device.type != "cpu":
        raise InputError(f"--engine {engine} computes on the CPU, not on {device}: add --device cpu")
    return float_extractor(run) if engine == "onnx" else int8_extractor(run)


def _predictions(task: Task, extract: Extractor | None, view: View) -> Iterator[Output]:
    expected, found = len(view.batch["image"]), 0
    for output in task.predict(with_features(view.batch, extract)):
        found += 1
        yield output.flipped() if view.mirrored else output
    if found < expected:
        raise InputError(
            f"{type(task).__name__}.decode gives {counted(found, 'prediction')} for {counted(expected, 'image')}"
        )


def _check_fit(runs: Sequence[FinishedRun]) -> None:
    """Refuse runs whose predictions have no mean."""
    first = runs[0]
    for run in runs[1:]:
        kinds = [type(each.task).__name__ for each in (first, run)]
        if first.task.outputs is not run.task.outputs:
            raise InputError(
                f"{first.folder} is of {kinds[0]}, but {run.folder} is of {kinds[1]}: give runs of one task"
            )
        _check_same_classes(first, run)
        if first.task.predicts_classes != run.task.predicts_classes:
            without = run if first.task.predicts_classes else first
            raise InputError(f"{without.folder} predicts boxes alone, the other run classes too: give runs of one kind")
        if not (first.task.has_mean and run.task.has_mean):
            raise InputError(
                f"{first.folder} and {run.folder} predict several objects per image, which two networks give in "
                "different orders: give a single run"
            )


def _check_same_classes(first: FinishedRun, other: FinishedRun) -> None:
    ours, theirs = first.class_names, other.class_names
    if same_names(ours, theirs):
        return
    missing, surplus = missing_names(theirs, ours), missing_names(ours, theirs)
    differences = [f"{listed(missing)} missing in the second"] if missing else []
    differences += [f"{listed(surplus)} missing in the first"] if surplus else []
    raise InputError(
        f"{first.folder} and {other.folder} have different classes: "
        f"{' and '.join(differences) or 'their order differs'}; "
        "give runs that were trained on the same ones"
    )


def _check_views(runs: Sequence[FinishedRun], tta: Tta | None) -> None:
    """Refuse test-time augmentation that does not fit a run."""
    if tta is None:
        return
    if tta not in get_args(Tta):
        raise InputError(f"--tta {tta}: expected one of {', '.join(get_args(Tta))}")
    for run in runs:
        if not run.task.has_mean:
            raise InputError(
                f"--tta {tta}: {run.folder} predicts several objects per image, which a network gives in another order "
                "in each view: leave it out"
            )
        if tta == "tencrop" and not run.task.outputs.is_of_whole_image:
            raise InputError(
                f"--tta tencrop: {run.folder} is of {type(run.task).__name__}, but a crop shows only a part of the "
                "image: use flip"
            )
        if tta == "tencrop" and run.resize == "keep":
            raise InputError(f"--tta tencrop: {run.folder} takes images of any size (resize: keep): use flip")


def _batch(images: Sequence[Prepared], position: int, device: torch.device) -> Batch:
    """The input of the networks of a preprocessing."""
    inputs = [image.inputs[position] for image in images]
    batch = collate([{"image": pixels, "geometry": geometry.row()} for pixels, geometry in inputs])
    return {key: values.to(device) for key, values in batch.items()}
