"""IoU of masks by hand, against torchmetrics, and where it is not defined."""

from math import nan

import pytest
import torch
from torch import Tensor
from torchmetrics import JaccardIndex

from visiontasks.tasks.metrics.masks import MaskMetrics, class_iou, confusion_matrix


def logits_of(predicted: Tensor, num_classes: int) -> Tensor:
    """Logits (K, H, W) whose largest is that of the predicted class (H, W)."""
    return torch.nn.functional.one_hot(predicted, num_classes).permute(2, 0, 1).float()


def measure(*images: tuple[Tensor, Tensor], num_classes: int) -> dict[str, Tensor]:
    metrics = MaskMetrics(num_classes)
    for predicted, mask in images:
        metrics.update(confusion_matrix(logits_of(predicted, num_classes), mask), torch.tensor(0.5))
    return metrics.compute()


def test_pixels_are_counted_by_true_and_predicted_class() -> None:
    mask = torch.tensor([[0, 0, 0, 1], [1, 255, 255, 1]])
    predicted = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    confusion = confusion_matrix(logits_of(predicted, 2), mask)
    assert confusion.tolist() == [[2, 1], [1, 2]]
    assert class_iou(confusion).tolist() == [0.5, 0.5]
    values = measure((predicted, mask), num_classes=2)
    assert values["miou"] == 0.5
    assert values["pixel_accuracy"] == pytest.approx(4 / 6)
    assert (values["n"], values["loss"]) == (1, 0.5)
    assert values["confusion"].tolist() == [[2, 1], [1, 2]]


def test_class_iou_by_hand() -> None:
    confusion = torch.tensor([[6, 2, 0], [1, 0, 0], [0, 0, 3]])
    assert class_iou(confusion).tolist() == pytest.approx([6 / 9, 0, 1])


def test_a_class_that_neither_occurs_nor_is_predicted_has_no_part_in_the_mean() -> None:
    mask = torch.tensor([[0, 0, 2, 2]])
    values = measure((torch.tensor([[0, 0, 2, 0]]), mask), num_classes=4)
    assert values["class_iou"].isnan().tolist() == [False, True, False, True]
    assert values["miou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_class_that_is_predicted_but_does_not_occur_counts_as_0() -> None:
    values = measure((torch.tensor([[0, 0, 1, 0]]), torch.tensor([[0, 0, 0, 0]])), num_classes=3)
    assert values["class_iou"][:2].tolist() == [0.75, 0]
    assert values["miou"] == 0.375


def test_where_every_pixel_is_ignored_nothing_is_known() -> None:
    values = measure((torch.zeros(2, 2, dtype=torch.int64), torch.full((2, 2), 255)), num_classes=2)
    assert all(values[name].isnan() for name in ("miou", "pixel_accuracy"))
    assert values["class_iou"].isnan().all()
    assert values["n"] == 1


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_pixel_with_a_nan_among_its_logits_is_wrong(num_classes: int) -> None:
    mask = torch.arange(num_classes).view(1, -1)
    logits = logits_of(mask, num_classes)
    assert confusion_matrix(logits, mask).diagonal().sum() == num_classes
    for channel in range(num_classes):
        broken = logits.clone()
        broken[channel] = nan
        confusion = confusion_matrix(broken, mask)
        assert confusion.diagonal().sum() == 0
        assert confusion.sum(1).tolist() == [1] * num_classes


def random_images(num_images: int, num_classes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = []
    for i in range(num_images):
        size = (7 + i, 11 - i)  # each of another size
        predicted = torch.randint(num_classes, size, generator=generator)
        mask = torch.where(torch.rand(size, generator=generator) < 0.6, predicted, (predicted + i) % num_classes)
        mask[torch.rand(size, generator=generator) < 0.2] = 255
        images.append((predicted, mask))
    return images


def test_miou_and_pixel_accuracy_are_means_over_images_in_any_order() -> None:
    images = random_images(6, 4)
    values, turned = measure(*images, num_classes=5), measure(*images[::-1], num_classes=5)  # class 4 does not occur
    for name in ("miou", "pixel_accuracy"):
        of_images = values[f"{name}_by_sample"]
        assert of_images.shape == (6,)
        assert float(of_images.mean()) == pytest.approx(float(values[name]), abs=1e-6)
        assert turned[f"{name}_by_sample"].flip(0).tolist() == of_images.tolist()


def test_miou_is_torchmetrics_jaccard_index_over_all_pixels() -> None:
    images = random_images(5, 4)
    reference = JaccardIndex(task="multiclass", num_classes=4, ignore_index=255, average="macro")
    by_class = JaccardIndex(task="multiclass", num_classes=4, ignore_index=255, average="none")
    for predicted, mask in images:
        for metric in (reference, by_class):
            metric.update(predicted.unsqueeze(0), mask.unsqueeze(0))
    values = measure(*images, num_classes=4)
    torch.testing.assert_close(values["miou"], reference.compute())
    torch.testing.assert_close(values["class_iou"], by_class.compute())


def test_the_states_of_two_processes_sum_to_those_of_one() -> None:
    images = random_images(5, 3)
    whole, halves = MaskMetrics(3), [MaskMetrics(3), MaskMetrics(3)]
    for i, (predicted, mask) in enumerate(images):
        for metrics in (whole, halves[i % 2]):
            metrics.update(confusion_matrix(logits_of(predicted, 3), mask), torch.tensor(float(i)))
    summed = MaskMetrics(3)
    for name, reduction in summed._reductions.items():
        assert reduction is not None
        states = [getattr(half, name) for half in halves]
        setattr(summed, name, reduction(states[0] + states[1] if isinstance(states[0], list) else torch.stack(states)))
    summed._update_count = 1  # else compute() warns
    for name, value in whole.compute().items():
        order = [0, 2, 4, 1, 3] if name.endswith("_by_sample") else slice(None)
        torch.testing.assert_close(summed.compute()[name], value[order] if value.ndim else value, rtol=0, atol=0)
    assert (whole.compute()["n"], whole.compute()["loss"]) == (5, 2)


def test_counts_beyond_the_precision_of_float32_do_not_get_lost() -> None:
    metrics = MaskMetrics(2)
    for _ in range(3):
        metrics.update(torch.tensor([[2**40, 1], [0, 2**40]]), torch.tensor(0.0))
    values = metrics.compute()
    assert values["confusion"].tolist() == [[3 * 2**40, 3], [0, 3 * 2**40]]
    assert values["miou"] == pytest.approx(1)
    metrics.update(torch.tensor([[1, 1], [1, 1]]), torch.tensor(0.0))
    assert values["confusion"].tolist() == [[3 * 2**40, 3], [0, 3 * 2**40]]  # what was given stays
