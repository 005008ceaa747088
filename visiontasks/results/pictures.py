"""Pictures of a measured split: what the task says of the worst samples and of random ones, beside the truth."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visiontasks.data import DataModule, sample_name
from visiontasks.data.pipeline.geometry import Geometry
from visiontasks.report import Picture, draw_grid, worst_and_random
from visiontasks.tasks import Task
from visiontasks.tasks.base import Split

COUNT = 12
NO_CLASS = "nothing"
"""What a sample is called of which the network said no number."""


def draw_predictions(task: Task, data: DataModule, split: Split, path: Path) -> dict[int, Picture]:
    """Write a PNG of the 12 samples with the lowest scores and 12 random others.

    Args:
        task: Has just measured the split.
        data: Has it.
        split: "test" or "val".
        path: The file; its folder is made.

    Returns:
        What was drawn, by row of the split.
    """
    table = {name: values.cpu() for name, values in task.sample_table(split).items()}
    index, score = table["index"].numpy(), table["score"].numpy()
    worst, others = worst_and_random(index, score, count=COUNT)
    has_all = not table.keys().isdisjoint(("predicted", "box"))
    drawn = {}
    for i in [*worst, *others]:
        said = {name: values[i] for name, values in table.items()} if has_all else None
        drawn[int(index[i])] = picture_of(task, data, split, int(index[i]), float(score[i]), said=said)
    sections = {
        f"the {len(worst)} worst": [drawn[int(index[i])] for i in worst],
        f"{len(others)} random others": [drawn[int(index[i])] for i in others],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_grid(sections, path, class_names=data.class_names, score_name=task.score_name)
    return drawn


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
def picture_of(
    task: Task, data: DataModule, split: str, row: int, score: float, *, said: Mapping[str, Tensor] | None = None
) -> Picture:
    """One sample as the network saw it, or with a mask as the original image.

    Args:
        task: Its mode is left as it was.
        data: Has the split.
        split: "train", "val" or "test".
        row: Of the sample in the split.
        score: How well it was done.
        said: What the measurement found of it, see `Task.sample_table`; without it, it is predicted, in float32.

    Raises:
        InputError: If the sample's files cannot be read.
    """
    dataset = data.dataset(split)
    sample = dataset[row]
    options: dict[str, Any] = {"name": sample_name(data.source(split), row), "score": score}
    if said is None:
        batch = {key: _to_device(value, task.device) for key, value in dataset.collate([sample]).items()}
        with in_eval_mode(task):
            predicted = task.predict(batch)
        if "masks" in predicted:
            original, mask = data.source(split)[row]["image"], predicted["masks"][0].cpu().numpy()
            return Picture(original, **options, true_mask=sample["mask"], predicted_mask=mask)
        said = _most_probable({name: values[0] for name, values in predicted.items()})
    if "box" in said:
        options |= {"true_boxes": sample["boxes"] / Geometry.of(sample["geometry"]).unit}
        options |= {"predicted_boxes": said["box"].float().cpu().numpy().reshape(-1, 4)}
    labels = np.atleast_1d(sample.get("labels", sample.get("label", ())))
    if "predicted" in said and len(labels) == 1:
        k = int(said["predicted"])
        options |= {"true_label": data.class_names[labels[0]]}
        options |= {"predicted_label": data.class_names[k] if k >= 0 else NO_CLASS}
        options |= {"probability": float(said["probability"]) if k >= 0 else None}
    return Picture(sample["image"], **options)


def _most_probable(said: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What is said of one sample, with the most probable class in place of the probabilities of all, (K,)."""
    if "probability" not in said or said["probability"].ndim > 1:
        return said
    probability, predicted = said["probability"].max(0)
    return {**said, "predicted": predicted, "probability": probability}


def _to_device(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else [part.to(device) for part in value]
