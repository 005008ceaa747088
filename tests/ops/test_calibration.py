"""A temperature by hand, and ranks that a promise needs."""

from math import log

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.ops.calibration import COLDEST, HOTTEST, fit_temperature, least_values, rank_for, tempered_softmax


def test_a_temperature_makes_the_confidence_the_share_of_right_answers() -> None:
    """Logits 2 and 0, 3 of 4 answers right: 2 / T = ln 3 is best, which 4,000 images decide, not the prior."""
    logits = torch.tensor([[2.0, 0.0]]).expand(4000, 2)
    label = torch.tensor([0, 0, 0, 1]).repeat(1000)
    assert fit_temperature(logits, label) == pytest.approx(2 / log(3), rel=1e-3)


def test_no_mistake_among_few_images_does_not_make_probabilities_certain() -> None:
    """The log loss alone is lowest at T = 0; the prior holds T near 1 where the loss is near 0 anyway."""
    logits = 10 * torch.eye(3).repeat(4, 1)
    temperature = fit_temperature(logits, torch.arange(3).repeat(4))
    assert 0.9 < temperature < 1
    assert tempered_softmax(logits, temperature).max() < 1


def test_a_temperature_is_bounded() -> None:
    logits, right = torch.tensor([[0.01, 0.0]]).expand(5000, 2), torch.zeros(5000, dtype=torch.int64)
    assert fit_temperature(logits, right) == COLDEST
    assert fit_temperature(100 * logits.flip(1), right) == HOTTEST
    assert fit_temperature(logits[:0], right[:0]) == 1


def test_rows_that_are_not_finite_and_the_order_of_the_others_do_not_count() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    label = torch.arange(50) % 4
    spoilt = torch.cat([logits.flip(0), torch.full((1, 4), torch.nan)])
    other = torch.cat([label.flip(0), torch.zeros(1, dtype=torch.int64)])
    assert fit_temperature(spoilt, other) == fit_temperature(logits, label)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 3.0, 10.0])
def test_the_answer_stays_also_where_the_second_class_is_a_rounding_away(temperature: float) -> None:
    first = torch.linspace(5, 30, 1000)
    second = torch.nextafter(first, torch.zeros(()))
    logits = torch.stack([second, first, first - 20], dim=1)
    assert (tempered_softmax(logits, temperature).argmax(1) == 1).all()
    assert torch.equal(tempered_softmax(logits, 1.0), logits.softmax(1))


@pytest.mark.parametrize(
    ("share", "n", "rank"), [(0.95, 19, 19), (0.9, 9, 9), (0.9, 10, 10), (0.9, 99, 90), (0.7, 9, 7), (0.5, 1, 1)]
)
def test_the_rank_is_the_ceiling_of_the_share_of_one_more(share: float, n: int, rank: int) -> None:
    """20 * 0.95 is 19 by hand, and 19.000000000000004 for other decimals in floating point."""
    assert rank_for(share, n) == rank


def test_too_few_values_are_refused_with_how_many_it_takes() -> None:
    assert [least_values(share) for share in (0.5, 0.9, 0.95, 0.99)] == [1, 9, 19, 99]
    with pytest.raises(InputError, match=r"0\.95 needs at least 19 validation images, the run has 18"):
        rank_for(0.95, 18)


@pytest.mark.parametrize("share", [0.0, 1.0, 95.0, -0.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="expected above 0 and below 1"):
        rank_for(share, 100)
