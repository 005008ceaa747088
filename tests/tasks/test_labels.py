"""Several labels: the loss by hand, thresholds that are chosen and stored, and what is predicted."""

from collections.abc import Callable
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from visiontasks.data import DigitGroups
from visiontasks.errors import InputError
from visiontasks.outputs import LabelScores
from visiontasks.tasks import MultiLabelTask
from visiontasks.tasks.metrics.labels import LabelMetrics

NAN = float("nan")
Batch = dict[str, Tensor]
Fit = Callable[..., Trainer]


class Fixed(nn.Module):
    """The same logits for every image."""

    def __init__(self, in_features: int, num_classes: int, probabilities: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities).logit())

    def forward(self, feature: Tensor) -> Tensor:
        return self.logits.expand(len(feature), -1)


def make_task(num_classes: int = 2, **options: Any) -> MultiLabelTask:
    torch.manual_seed(0)
    return MultiLabelTask("resnet20_cifar", weights="none", num_classes=num_classes, **options)


def batch(*hot: list[float]) -> Batch:
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(256, (len(hot), 3, 32, 32), dtype=torch.uint8, generator=draw)
    return {"image": image, "index": torch.arange(len(hot)), "labels_hot": torch.tensor(hot), "geometry": GEOMETRY}


GEOMETRY = torch.tensor([[32, 32, 0, 0, 32, 32, 0, 0]] * 2)
FIXED = partial(Fixed, probabilities=[0.75, 0.2])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (-log(0.75) - log(0.8) - log(0.25)) / 3),
        ({"positive_weights": [2.0, 1.0]}, (-2 * log(0.75) - log(0.8) - log(0.25)) / 3),
        # Ridnik et al.: 0.25 * -log 0.75; of the second 0.2 - 0.05 = 0.15 squared; of the third 0.7 squared
        (
            {"gamma_negative": 2.0, "gamma_positive": 1.0, "margin": 0.05},
            (-0.25 * log(0.75) - 0.15**2 * log(0.85) - 0.7**2 * log(0.3)) / 3,
        ),
    ],
)
def test_the_loss_is_the_mean_over_known_labels(options: dict[str, Any], expected: float) -> None:
    task = make_task(head=FIXED, **options)
    assert task.training_loss(batch([1, 0], [0, NAN])).item() == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_are_the_ratio_of_images_without_to_with() -> None:
    task = make_task(positive_weights="balanced")
    assert task.needs_class_counts
    task.balance([10, 40], 50)
    assert task.positive_weights().tolist() == [4, 0.25]
    with pytest.raises(InputError, match="need more samples than counts, got 50"):
        make_task(positive_weights="balanced").balance([10, 50], 50)


def test_predictions_have_the_stored_thresholds() -> None:
    task = make_task(head=FIXED).eval()
    task.threshold.copy_(torch.tensor([0.8, 0.1]))
    with torch.inference_mode():
        (first, _) = task.predict(batch([1, 0], [0, 1]))
        unused: Any = None  # labels need no way back to the original image
        values = task.graph_values(batch([1, 0], [0, 1])["image"], unused)
    assert isinstance(first, LabelScores)
    assert first.present.tolist() == [False, True]
    assert values["threshold"].flatten().tolist() == pytest.approx([0.8, 0.1, 0.8, 0.1])


def test_a_training_chooses_thresholds_on_validation_and_measures_test_at_them(fit: Fit, tmp_path: Path) -> None:
    data = DigitGroups(target="labels", scenes_per_digit=1, batch_size=64, num_workers=0, image_size=32, seed=0)
    task = make_task(10)
    data.setup()
    batches = [data.batch("train", [(0, row) for row in range(part * 64, part * 64 + 64)]) for part in range(2)]
    rows = range(data.split_sizes["val"])
    trainer = fit(task, batches, val=[data.batch("val", [(0, row) for row in rows])])
    chosen = task.threshold.clone()
    assert not torch.equal(chosen, torch.full((10,), 0.5))
    measured = {value.name: value for value in task.measured("val")}
    assert list(measured["class_threshold"].by_class) == pytest.approx(chosen.tolist(), abs=1e-7)
    trainer.test(task, datamodule=data, verbose=False)
    tested = {value.name: value for value in task.measured("test")}
    assert list(tested["class_threshold"].by_class) == chosen.double().tolist()
    low, high = tested["f1"].interval or (1, 0)
    assert low < tested["f1"].value < high
    table = task.sample_table("test")
    metrics = task.metrics["test"]
    assert isinstance(metrics, LabelMetrics)
    assert metrics.labels is not None
    found, missed, invented = (each.sum(1) for each in metrics.labels.outcomes(chosen.double().numpy()))
    assert (table["missed"].tolist(), table["invented"].tolist()) == (missed.tolist(), invented.tolist())
    row = int(found.argmax())
    assert table["score"][row].item() == pytest.approx(2 * found[row] / (2 * found + missed + invented)[row])
    titles = [section.title for section in task.report_sections("test", data.class_names)]
    assert titles == ["Precision and recall of each label", "Labels that come together"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes must be 1 or more, got 0"),
        ({"gamma_negative": -1.0}, "gamma_negative must be 0 or more, got -1.0"),
        ({"margin": 1.0}, r"margin must be in \[0, 1\), got 1.0"),
        ({"positive_weights": [1.0]}, 'positive_weights must be "balanced", "sqrt_balanced" or 2 values'),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task(**options)
