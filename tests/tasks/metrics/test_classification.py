from itertools import chain
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from visiontasks.tasks.metrics.classification import ClassificationMetrics, SampleTable, ranked_classes


def merge(ranks: list[Any]) -> None:
    """Do with the states of all processes what torchmetrics does."""
    for name, reduce in ranks[0]._reductions.items():
        states = [getattr(metrics, name) for metrics in ranks]
        setattr(ranks[0], name, reduce([*chain(*states)] if isinstance(states[0], list) else torch.stack(states)))


def logits_of(predicted: list[int], num_classes: int) -> Tensor:
    """Logits whose largest is that of the predicted class."""
    return torch.eye(num_classes)[predicted]


def values(logits: Tensor, labels: list[int]) -> dict[str, float]:
    metrics = ClassificationMetrics(logits.shape[1])
    metrics.update(logits, torch.tensor(labels))
    return {name: value.item() for name, value in metrics.compute().items()}


# right: 1 of 2, 1 of 1, 1 of 2
LABELS, PREDICTED = [0, 0, 1, 2, 2], [0, 1, 1, 0, 2]


@pytest.mark.parametrize("num_classes", [3, 4, 9], ids=["all_occur", "one_absent", "six_absent"])
def test_accuracies_by_hand_without_absent_classes(num_classes: int) -> None:
    found = values(logits_of(PREDICTED, num_classes), LABELS)
    assert found["top1"] == pytest.approx(3 / 5)
    assert found["top1_error"] == pytest.approx(2 / 5)
    assert found["macro_accuracy"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["n"] == 5


def test_top5_by_hand() -> None:
    ranking = torch.tensor([6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0])  # class 0 first, 6 last
    found = values(ranking.expand(7, 7), [0, 1, 2, 3, 4, 5, 6])
    assert found["top1"] == pytest.approx(1 / 7)
    assert found["top5"] == pytest.approx(5 / 7)
    assert found["top5_error"] == pytest.approx(2 / 7)


@pytest.mark.parametrize("num_classes", [2, 3, 4, 5, 6])
def test_top5_is_left_out_up_to_five_classes(num_classes: int) -> None:
    found = values(logits_of([0], num_classes), [1])
    assert ("top5" in found) is (num_classes > 5)
    assert ("top5_error" in found) is (num_classes > 5)
    assert found["top1"] == 0


def test_loss_is_the_mean_cross_entropy() -> None:
    logits = torch.tensor([[log(3), 0.0], [0.0, 0.0], [log(3), 0.0]])  # probabilities 3/4 1/4, 1/2 1/2, 3/4 1/4
    assert values(logits, [0, 1, 1])["loss"] == pytest.approx((log(4 / 3) + log(2) + log(4)) / 3)


@pytest.mark.parametrize("sizes", [[1] * 7, [4, 3], [1, 6]], ids=str)
def test_uneven_batches_give_what_one_gives(sizes: list[int]) -> None:
    logits, label = torch.randn(7, 8), torch.tensor([0, 1, 1, 3, 7, 7, 7])
    whole, parts = ClassificationMetrics(8), ClassificationMetrics(8)
    whole.update(logits, label)
    for batch in zip(logits.split(sizes), label.split(sizes), strict=True):
        parts.update(*batch)
    assert parts.compute() == whole.compute()


def test_the_mean_loss_does_not_depend_on_the_order_in_its_last_digit() -> None:
    logits, label = 9 * torch.randn(500, 3), torch.randint(3, (500,))
    found = set()
    for _ in range(20):
        metrics, order = ClassificationMetrics(3), torch.randperm(500)
        for rows in order.split(7):
            metrics.update(logits[rows], label[rows])
        found.add(metrics.compute()["loss"].item())
    assert len(found) == 1


def test_processes_with_different_numbers_of_samples_add_up() -> None:
    logits, label = torch.randn(7, 8), torch.tensor([0, 1, 1, 3, 7, 7, 7])
    whole = ClassificationMetrics(8)
    whole.update(logits, label)
    ranks = [ClassificationMetrics(8), ClassificationMetrics(8)]
    for rank, metrics in enumerate(ranks):
        metrics.update(logits[rank::2], label[rank::2])
    merge(ranks)
    assert ranks[0].compute() == whole.compute()


@pytest.mark.parametrize("row", [[float("nan")] * 7, [9.0, float("nan"), 0.0, 0.0, 0.0, 0.0, 0.0]], ids=["all", "one"])
def test_a_sample_with_a_nan_logit_is_wrong_whatever_its_class(row: list[float]) -> None:
    found = values(torch.tensor(row).expand(7, 7), [0, 1, 2, 3, 4, 5, 6])
    assert (found["top1"], found["top5"], found["macro_accuracy"]) == (0, 0, 0)
    assert found["n"] == 7
    assert found["loss"] != found["loss"]


def test_a_minus_infinite_logit_of_another_class_does_no_harm() -> None:
    found = values(torch.tensor([[0.0, -torch.inf, 0.0]]), [0])
    assert found["top1"] == 1
    assert found["loss"] == pytest.approx(log(2))


def test_states_fit_accelerators_without_float64() -> None:
    metrics = ClassificationMetrics(3)
    metrics.update(torch.zeros(1, 3), torch.tensor([0]))
    states = [state if isinstance(state, list) else [state] for state in metrics.metric_state.values()]
    tensors = [*chain(*states), *metrics.compute().values()]
    assert torch.float64 not in {tensor.dtype for tensor in tensors}


def test_the_rows_of_samples_come_in_their_order() -> None:
    table = SampleTable(("score", "box"))
    table.update(torch.tensor([2, 0]), {"score": torch.tensor([0.2, 0.0]), "box": torch.tensor([[2.0] * 4, [0.0] * 4])})
    table.update(torch.tensor([1]), {"score": torch.tensor([0.1]), "box": torch.tensor([[1.0] * 4])})
    found = table.compute()
    assert found["index"].tolist() == [0, 1, 2]
    assert found["score"].tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert found["box"].tolist() == [[0.0] * 4, [1.0] * 4, [2.0] * 4]


def test_samples_of_all_processes_are_in_one_table() -> None:
    ranks = [SampleTable(("score", "predicted")) for _ in range(3)]
    for rank, table in enumerate(ranks):
        rows = torch.arange(rank, 7, 3)
        table.update(rows, {"score": rows / 10, "predicted": rows % 2})
    merge(ranks)
    found = ranks[0].compute()
    assert found["index"].tolist() == list(range(7))
    assert found["predicted"].tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert found["predicted"].dtype == torch.int64


@pytest.mark.parametrize("names", [["score"], ["score", "box", "probability"]])
def test_a_column_that_is_missing_or_unknown_is_a_fault(names: list[str]) -> None:
    with pytest.raises(ValueError, match="expected values of index, score, box, got index, score"):
        SampleTable(("score", "box")).update(torch.tensor([0]), {name: torch.zeros(1) for name in names})


def test_the_ranking_of_classes_has_no_class_where_a_logit_is_no_number() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [float("nan"), 0.0, 1.0]])
    assert ranked_classes(logits).tolist() == [[1, 2, 0], [-1, -1, -1]]
    assert ranked_classes(torch.zeros(2, 3, 9)).shape == (2, 3, 5)
