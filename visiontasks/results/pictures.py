"""Pictures of a measured split: predictions of the worst samples and of random ones, beside the truth."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path

import torch

from visiontasks.data import DataModule
from visiontasks.data.pipeline.sources import annotation
from visiontasks.outputs import Output
from visiontasks.report import Picture, draw_grid, worst_and_random
from visiontasks.results.samples import Samples
from visiontasks.tasks import Task
from visiontasks.tasks.base import Batch

COUNT = 12
NO_CLASS = "nothing"
"""Shown where the prediction is NaN, or an image has no label."""


def draw_predictions(
    task: Task, data: DataModule, split: str, samples: Samples, rows: Sequence[int], path: Path
) -> dict[int, Picture]:
    """Write a PNG of the 12 samples with the lowest scores and 12 random others.

    Args:
        task: With the weights that were measured.
        data: Has the split.
        split: "test" or "val".
        samples: Of the split.
        rows: Row in the split of each of them.
        path: The file; its folder is made.

    Returns:
        The pictures, by row of the split.
    """
    worst, others = (each.tolist() for each in worst_and_random(rows, samples.score, count=COUNT))
    drawn = {i: picture_of(task, data, split, rows[i], samples, i) for i in [*worst, *others]}
    sections = {
        f"the {len(worst)} worst": [drawn[i] for i in worst],
        f"{len(others)} random others": [drawn[i] for i in others],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_grid(sections, path, class_names=data.class_names, score_name=task.score_name)
    return {rows[i]: picture for i, picture in drawn.items()}


@contextmanager
def in_eval_mode(task: Task) -> Iterator[None]:
    """Hold a task in eval mode and float32; each of its modules gets its own mode again."""
    modes = {module: module.training for module in task.modules()}
    task.eval().float()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def picture_of(task: Task, data: DataModule, split: str, row: int, samples: Samples, position: int) -> Picture:
    """One sample with its truth and prediction: an image as the network gets it, or the original with what is drawn.

    Args:
        task: Predicts, in float32, what is drawn and the table does not hold; its mode is left as it was.
        data: Has the split.
        split: "train", "val" or "test".
        row: Of the sample in the split.
        samples: Scores and classes as they were measured.
        position: Of the sample among them.

    Raises:
        InputError: If the sample's files cannot be read.
    """
    batch = data.batch(split, [(0, row)])
    image, truth, prediction = batch["image"][0].permute(1, 2, 0).numpy(), None, None
    if not task.outputs.is_of_whole_image:
        original = data.source(split)[row]
        image, truth = original["image"], data.target.truth(original)
        values = {name: column[position] for name, column in samples.numbers.items()}
        prediction = task.outputs.from_table(values, (image.shape[0], image.shape[1]))
        if prediction is None:
            prediction = _predicted(task, batch)
    predicted, probability = samples.predicted, samples.probability
    true_label = None if samples.label is None else samples.label[position] or None
    predicted_label = None if predicted is None else predicted[position] or NO_CLASS
    if predicted is None and task.outputs.is_of_whole_image:
        known = data.target.names(annotation(data.source(split), row), data.class_names)
        found = _predicted(task, batch).label_names(data.class_names)
        true_label, predicted_label = (", ".join(names) or NO_CLASS for names in (known, found))
    return Picture(
        image,
        samples.sample[position],
        score=samples.score[position],
        true_label=true_label,
        predicted_label=predicted_label,
        probability=None if probability is None or isnan(probability[position]) else probability[position],
        truth=truth,
        prediction=prediction,
    )


def _predicted(task: Task, batch: Batch) -> Output:
    """What a task predicts of a batch with one image, in float32."""
    with in_eval_mode(task):
        (prediction,) = task.predict({key: batch[key].to(task.device) for key in ("image", "geometry")})
    return prediction
