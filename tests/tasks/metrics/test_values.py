"""What a metric means, its interval and count, and what of it result.json holds."""

from collections.abc import Callable
from math import isnan, nan, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask
from visiontasks.tasks.metrics import FACTS, BoxMetrics, ClassificationMetrics, MaskMetrics, MetricFacts, MetricValue
from visiontasks.tasks.metrics.values import BY_SAMPLE, facts_of

SHARE = MetricFacts("share of images", is_share=True)
QUARTERS = torch.tensor([[0.0, 0.0, 4.0, 8.0], [0.0, 0.0, 8.0, 4.0], [0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 8.0, 8.0]])


def test_facts_leave_out_what_is_empty_or_false() -> None:
    assert MetricFacts().to_json() == {}
    assert SHARE.to_json() == {"meaning": "share of images"}  # a share is known by its count
    facts = MetricFacts("error", headline="of the {split} images", in_percent=True, lower_is_better=True, note="a note")
    assert facts.to_json() == {
        "meaning": "error",
        "headline": "of the {split} images",
        "in_percent": True,
        "lower_is_better": True,
        "note": "a note",
    }


def test_a_share_has_its_count_and_the_wilson_interval() -> None:
    found = MetricValue("top1", 0.9, 40, SHARE).to_json()
    # Wilson, z = 1.96: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n), with z2/n = 0.09604
    centre, half = (0.9 + 0.04802) / 1.09604, 1.96 * sqrt(0.09 / 40 + 0.09604 / 160) / 1.09604
    assert found["interval95"] == pytest.approx([centre - half, centre + half], abs=1e-4)
    assert found["interval95"] == pytest.approx([0.7695, 0.9604], abs=1e-4)
    del found["interval95"]
    assert found == {"value": 0.9, "n": 40, "count": 36, "meaning": "share of images"}


def test_a_share_in_float32_becomes_its_count_by_n() -> None:
    third = float(torch.tensor(1.0) / 3)
    assert third != 1 / 3
    assert MetricValue("top1", third, 3, SHARE).to_json()["value"] == 1 / 3


@pytest.mark.parametrize(("value", "n"), [(0.0, 8), (1.0, 8)])
def test_the_interval_of_none_or_all_ends_at_the_share(value: float, n: int) -> None:
    low, high = MetricValue("top1", value, n, SHARE).to_json()["interval95"]
    width = 0.4802 / 1.4802  # z2/n / (1 + z2/n): of 8 samples
    assert (low, high) == pytest.approx((0, width) if value == 0 else (1 - width, 1), abs=1e-4)


def test_a_share_of_nothing_has_neither_count_nor_interval() -> None:
    found = MetricValue("iou50", nan, 0, SHARE).to_json()
    assert isnan(found.pop("value"))
    assert found == {"n": 0, "meaning": "share of images"}


def test_a_mean_has_the_interval_that_it_is_given() -> None:
    facts = MetricFacts("mean overlap")
    assert MetricValue("iou", 0.5, 4, facts, (0.25, 0.75)).to_json() == {
        "value": 0.5,
        "n": 4,
        "interval95": [0.25, 0.75],
        "meaning": "mean overlap",
    }
    assert MetricValue("loss", 2.0, 4).to_json() == {"value": 2.0, "n": 4}


def test_metrics_of_another_library_have_no_facts() -> None:
    assert facts_of(torch.nn.Identity()) == {}
    assert facts_of(BoxMetrics()) is BoxMetrics.facts


def test_every_metric_is_declared_with_its_meaning_and_the_monitored_one_with_a_headline() -> None:
    classes, boxes, masks = ClassificationMetrics(6), BoxMetrics(6), MaskMetrics(6)
    classes.update(torch.zeros(1, 6), torch.tensor([0]))
    boxes.update(torch.ones(1, 5), torch.zeros(1), torch.ones(1, 5, dtype=torch.bool), torch.zeros(1))
    masks.update(torch.eye(6, dtype=torch.int64), torch.tensor(0.0))
    for metrics in (classes, boxes, masks):
        names = {name for name in metrics.compute() if not name.endswith(BY_SAMPLE)} - {"n", "confusion"}
        assert names == facts_of(metrics).keys()
        assert all(FACTS[name].meaning for name in names)
    for kind in (ClassificationTask, LocalizationTask, SegmentationTask):
        assert FACTS[kind.monitor.removeprefix("val/")].headline.count("{split}") == 1


def of_logits(logits: Tensor) -> ClassificationTask:
    """A task that gives these logits for whatever images."""
    task = ClassificationTask("resnet20_cifar", weights="none", num_classes=2).eval()
    task.raw_output = lambda batch: logits  # type: ignore[method-assign]
    return task


def test_a_classifications_metrics_are_measured_with_count_and_n(make_batch: Callable[..., dict[str, Any]]) -> None:
    task = of_logits(torch.tensor([[1.0, 0.0]] * 4))
    task.validation_step(make_batch(4, 2), 0)  # labels 0 1 0 1
    measured = {value.name: value for value in task.measured("val")}
    assert set(measured) == {"top1", "macro_accuracy", "loss", "top1_error"}
    assert {value.n for value in measured.values()} == {4}
    assert measured["top1"].to_json()["count"] == 2
    # Wilson of 2 of 4: z2/n = 0.9604, half of it 1.96 sqrt(1/16 + 0.9604/16) / 1.9604 = 0.35
    assert measured["top1"].to_json()["interval95"] == pytest.approx([0.15, 0.85], abs=1e-4)
    assert measured["top1_error"].facts.lower_is_better
    assert measured["loss"].interval is None


def test_the_mean_of_the_samples_scores_has_their_interval(make_batch: Callable[..., dict[str, Any]]) -> None:
    task = LocalizationTask("resnet20_cifar", weights="none", num_classes=1).eval()
    task.raw_output = lambda batch: (None, torch.tensor([[[0.0, 0.0, 1.0, 1.0]]] * 4))  # type: ignore[method-assign]
    batch = make_batch(4, 1) | {"boxes": list(QUARTERS.split(1)), "labels": [torch.tensor([0])] * 4}
    with torch.no_grad():
        task.validation_step(batch, 0)
    measured = {value.name: value for value in task.measured("val")}
    # IoU 0.5, 0.5, 0.25, 1: squared deviations (1 + 1 + 25 + 49) / 256, by n - 1: s = 0.31458; t of 3 degrees 3.18245
    assert measured["iou"].value == 0.5625
    assert measured["iou"].interval == pytest.approx((0.5625 - 3.18245 * 0.31458 / 2, 1), abs=1e-4)  # cut to 1
    assert measured["iou50"].to_json()["count"] == 3
    assert measured["loss"].interval is None


def test_a_metric_that_is_no_mean_of_scores_has_the_interval_of_its_values_by_sample() -> None:
    task = SegmentationTask("resnet20_cifar", weights="none", num_classes=2).eval()
    for confusion in ([[4, 0], [0, 4]], [[4, 2], [0, 2]]):
        task.metrics["val"].update(torch.tensor(confusion), torch.tensor(0.5))
    task.samples["val"].update(torch.tensor([0, 1]), {"score": torch.tensor([1.0, 0.58333])})
    measured = {value.name: value for value in task.measured("val")}
    # 8 of 10 and 6 of 8 pixels: 0.8 and 0.75; of the first image 0.8 + 2 (4 - 0.8 * 4) / 10 = 0.96 and
    # 0.75 + 2 (4 - 0.75 * 4) / 8 = 1, mean 0.98, so 0.57 of the second: 0.775 and t(0.975, 1) = 12.7 times 0.205
    assert measured["miou"].value == pytest.approx(0.775)
    assert measured["miou"].interval == (0, 1)
    # 14 of 16 pixels: 0.875 + 2 (8 - 0.875 * 8) / 16 = 1 and 0.75
    assert measured["pixel_accuracy"].interval == (0, 1)
    assert measured["loss"].interval is None


def test_values_of_classes_are_listed_beside_those_of_the_split() -> None:
    task = SegmentationTask("resnet20_cifar", weights="none", num_classes=3).eval()
    task.metrics["val"].update(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), torch.tensor(0.5))
    task.samples["val"].update(torch.tensor([0]), {"score": torch.tensor([0.775])})
    measured = {value.name: value for value in task.measured("val")}
    assert set(measured) == {"miou", "pixel_accuracy", "loss", "class_iou"}
    assert measured["class_iou"].by_class == pytest.approx((3 / 4, 4 / 5, nan), nan_ok=True)
    assert isnan(measured["class_iou"].value)
    assert measured["miou"].value == pytest.approx(0.775)
    assert measured["miou"].by_class == ()


def test_metrics_without_a_count_are_over_the_samples_and_need_names() -> None:
    class Plain(nn.Module):
        def compute(self) -> Any:
            return {"mean": torch.tensor(0.25)}

    task = SegmentationTask("resnet20_cifar", weights="none", num_classes=3).eval()
    task.samples["val"].update(torch.tensor([0, 1]), {"score": torch.tensor([0.5, 0.75])})
    task.metrics["val"] = Plain()
    assert [(value.name, value.value, value.n) for value in task.measured("val")] == [("mean", 0.25, 2)]
    task.metrics["val"].compute = lambda: torch.tensor(0.25)  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"Plain.compute\(\) of SegmentationTask returned Tensor, expected a dict"):
        task.measured("val")
