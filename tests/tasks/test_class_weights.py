"""Weights of classes: given, balanced by hand, and what is refused."""

from math import inf
from typing import Any

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.tasks.class_weights import ClassWeights


def test_without_an_option_all_classes_weigh_1() -> None:
    weights = ClassWeights(None, 3)
    assert weights().tolist() == [1, 1, 1]
    assert not weights.unbalanced


def test_given_weights_are_taken_as_they_are() -> None:
    assert ClassWeights([2, 0.5], 2)().tolist() == [2, 0.5]


def test_balanced_weights_are_n_over_k_times_the_count() -> None:
    weights = ClassWeights("balanced", 3)
    assert weights.unbalanced
    weights.balance([10, 20, 60])  # n = 90
    assert weights().tolist() == pytest.approx([3, 1.5, 0.5])
    assert not weights.unbalanced
    counts = torch.tensor([10, 20, 60])
    assert float((weights() * counts).sum() / counts.sum()) == pytest.approx(1)


def test_square_roots_of_balanced_weights() -> None:
    weights = ClassWeights("sqrt_balanced", 3)
    weights.balance([10, 20, 60])
    assert weights().tolist() == pytest.approx([3**0.5, 1.5**0.5, 0.5**0.5])


def test_pixel_counts_of_any_size_can_be_balanced() -> None:
    weights = ClassWeights("balanced", 2)
    weights.balance([3 * 10**12, 10**12])
    assert weights().tolist() == pytest.approx([2 / 3, 2])


def test_weights_are_float32_and_no_part_of_a_checkpoint() -> None:
    weights = ClassWeights([1.0, 3.0], 2).bfloat16()
    assert weights().dtype == torch.float32
    assert not weights.state_dict()


@pytest.mark.parametrize("option", ["balance", [1.0], [1.0, 0.0], [1.0, -1.0], [1.0, inf], [1.0, 2.0, 3.0], []])
def test_other_weights_are_refused(option: Any) -> None:
    with pytest.raises(InputError, match=r'class_weights must be "balanced", .* 2 values above 0, .* got '):
        ClassWeights(option, 2)


@pytest.mark.parametrize("counts", [[5, 0], [5], [5, 5, 5]])
def test_counts_that_cannot_be_balanced_are_refused(counts: list[int]) -> None:
    with pytest.raises(InputError, match=r"balanced class weights need 2 counts above 0, got \[5"):
        ClassWeights("balanced", 2).balance(counts)


def test_weights_stay_exact_in_a_task_of_another_precision() -> None:
    weights = ClassWeights([0.3017, 1.7], 2)  # 0.3017 is 0.3008 in bfloat16
    weights.to(torch.bfloat16)
    assert weights().tolist() == torch.tensor([0.3017, 1.7]).tolist()
