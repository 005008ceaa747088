"""Values by hand, from two objects and more."""

import pytest
import torch
from torch import nan

from visiontasks.tasks.metrics.boxes import BoxMetrics


def values(metrics: BoxMetrics) -> dict[str, float]:
    return {name: value.item() for name, value in metrics.compute().items()}


def test_two_boxes_by_hand() -> None:
    metrics = BoxMetrics()
    metrics.update(torch.tensor([[0.5], [0.8]]), torch.tensor([0.3, 0.1]))
    expected = {"iou": 0.65, "iou50": 1.0, "iou75": 0.5, "loss": 0.2, "n": 2}
    assert values(metrics) == pytest.approx(expected)


def test_an_object_is_localized_if_its_class_is_right_and_its_box_has_half_the_union() -> None:
    metrics = BoxMetrics(num_classes=2, class_weight=0.5)
    iou = torch.tensor([[0.9, 0.9], [0.9, 0.9], [0.4, 0.4], [0.5, 0.5]])
    is_right = torch.tensor([[True, False], [False, True], [True, False], [True, False]])
    metrics.update(iou, torch.tensor([0.0, 0.0, 0.4, 0.4]), is_right, torch.tensor([1.0, 2.0, 3.0, 6.0]))
    expected = {"iou": 0.675, "iou50": 0.75, "iou75": 0.5, "top1": 0.75, "localization_error_top1": 0.5}
    assert values(metrics) == pytest.approx(expected | {"loss": 0.2 + 0.5 * 3, "n": 4})


def test_top5_needs_class_and_box_in_the_same_one_of_the_five_guesses() -> None:
    metrics = BoxMetrics(num_classes=6)
    iou = torch.tensor(
        [
            [0.1, 0.9, 0.1, 0.1, 0.1],  # the class is in the second guess, which has the good box
            [0.9, 0.1, 0.9, 0.9, 0.9],  # the second again, whose box is the bad one
            [0.9, 0.9, 0.9, 0.9, 0.9],  # in none
        ]
    )
    is_right = torch.zeros(3, 5, dtype=torch.bool)
    is_right[:2, 1] = True
    metrics.update(iou, torch.zeros(3), is_right, torch.zeros(3))
    found = values(metrics)
    assert found["localization_error_top5"] == pytest.approx(2 / 3)
    assert found["localization_error_top1"] == 1
    assert found["top1"] == 0


def test_an_object_without_a_box_counts_for_its_class_only() -> None:
    metrics = BoxMetrics(num_classes=2)
    is_right = torch.tensor([[True, False], [False, True]])
    metrics.update(torch.tensor([[nan, nan], [0.8, 0.8]]), torch.tensor([nan, 0.5]), is_right, torch.tensor([1.0, 2.0]))
    expected = {"iou": 0.8, "iou50": 1.0, "iou75": 1.0, "top1": 0.5, "localization_error_top1": 1.0}
    assert values(metrics) == pytest.approx(expected | {"loss": 0.5 + 1.5, "n": 2})


def test_without_any_box_the_iou_is_unknown_and_the_loss_is_of_the_classes() -> None:
    metrics = BoxMetrics(num_classes=2)
    metrics.update(torch.full((1, 2), nan), torch.tensor([nan]), torch.tensor([[True, False]]), torch.tensor([2.0]))
    found = values(metrics)
    assert found["iou"] != found["iou"]
    assert found["loss"] == 2


@pytest.mark.parametrize("num_classes", [0, 5, 6])
def test_values_about_classes_are_left_out_where_they_are_trivial(num_classes: int) -> None:
    metrics = BoxMetrics(num_classes)
    classes = (torch.ones(1, 5, dtype=torch.bool), torch.zeros(1)) if num_classes else ()
    metrics.update(torch.ones(1, 5), torch.zeros(1), *classes)
    names = set(metrics.compute())
    assert names >= {"iou", "iou50", "iou75", "loss", "n"}
    assert ({"top1", "localization_error_top1"} <= names) == (num_classes > 0)
    assert ("localization_error_top5" in names) == (num_classes > 5)


def test_uneven_batches_and_processes_give_the_values_of_all_objects() -> None:
    generator = torch.Generator().manual_seed(1)
    iou, box_loss, class_loss = (torch.rand(shape, generator=generator) for shape in ((7, 5), (7,), (7,)))
    is_right = torch.rand(7, 5, generator=generator) < 0.3
    iou[2] = nan

    def measure(*parts: slice) -> BoxMetrics:
        metrics = BoxMetrics(num_classes=6)
        for part in parts:
            metrics.update(iou[part], box_loss[part], is_right[part], class_loss[part])
        return metrics

    whole = values(measure(slice(None)))
    assert values(measure(slice(0, 4), slice(4, 7), slice(7, 7))) == whole
    first, second = measure(slice(0, 3)), measure(slice(3, 7))
    for name, reduce in first._reductions.items():  # what torchmetrics does between processes
        states = [getattr(second, name), getattr(first, name)]  # their order must not matter
        setattr(first, name, reduce(states[0] + states[1] if isinstance(states[0], list) else torch.stack(states)))
    assert values(first) == whole
