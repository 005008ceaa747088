from itertools import permutations
from math import inf, nan

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.ops.metrics import (
    exact_sum,
    holm,
    mcnemar,
    mean_interval,
    paired_difference,
    ratio_values,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("correct", "n", "interval"),
    [
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (5, 10, (0.2366, 0.7634)),
        (1, 1, (0.2065, 1.0)),
        # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_interval_is_the_published_one(correct: int, n: int, interval: tuple[float, float]) -> None:
    assert wilson_interval(correct, n) == pytest.approx(interval, abs=5e-5)


def test_interval_by_hand_with_z_of_one() -> None:
    # center 1/2 + 1/8, half sqrt(1/16 + 1/64), divided by 1 + 1/4: 0.5 -+ 0.2236
    assert wilson_interval(2, 4, z=1) == pytest.approx((0.5 - 0.05**0.5, 0.5 + 0.05**0.5))


@pytest.mark.parametrize("n", [1, 7, 360, 50_000])
def test_interval_stays_in_0_to_1_and_holds_the_share(n: int) -> None:
    for correct in (0, n // 2, n):
        low, high = wilson_interval(correct, n)
        assert 0 <= low <= correct / n <= high <= 1
        assert high - low > 0


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 10), (11, 10), (1, -1)])
def test_impossible_counts_are_refused(correct: int, n: int) -> None:
    with pytest.raises(InputError, match=f"got correct={correct}, n={n}"):
        wilson_interval(correct, n)


def test_interval_of_a_mean_by_hand() -> None:
    # mean 0.5, deviations -0.01 and 0.01: standard deviation 0.01 * sqrt(2), of the mean 0.01; t(0.975, 1) = 12.706
    assert mean_interval([0.49, 0.51]) == pytest.approx((0.5 - 0.12706, 0.5 + 0.12706), abs=1e-5)
    # squared deviations 0.01 + 0 + 0.01, standard deviation 0.1, of the mean 0.1 / sqrt(3); t(0.975, 2) = 4.3027
    assert mean_interval([0.4, 0.5, 0.6]) == pytest.approx((0.5 - 4.3027 * 0.057735, 0.5 + 4.3027 * 0.057735), abs=1e-5)
    assert mean_interval([0.5]) is None
    assert mean_interval([]) is None


def test_a_mean_of_ratios_is_the_mean_of_one_value_for_each_sample() -> None:
    part, whole = torch.tensor([[1, 0, 0], [2, 2, 0]]), torch.tensor([[4, 0, 0], [4, 2, 0]])
    # ratios 3/8 and 2/2, the third is left out; 3/8 + 2 (1 - 4 * 3/8) / 8 = 1/4, 3/8 + 2 (2 - 4 * 3/8) / 8 = 1/2
    # and 1 + 2 (0 - 0) / 2 = 1 twice
    values = ratio_values(part, whole)
    assert values.tolist() == [(0.25 + 1) / 2, (0.5 + 1) / 2]
    assert float(values.mean()) == (3 / 8 + 1) / 2
    assert ratio_values(torch.zeros(2, 1), torch.zeros(2, 1)).isnan().all()


def test_the_interval_of_a_mean_of_ratios_is_the_bootstraps() -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(50, 500, (150, 3), generator=generator)
    part = (whole * torch.rand(150, 3, generator=generator) ** 0.5).long()
    rows = torch.randint(150, (4000, 150), generator=generator)
    drawn = (part[rows].sum(1) / whole[rows].sum(1)).mean(1)
    bounds = drawn.quantile(torch.tensor([0.025, 0.975])).tolist()
    assert mean_interval(ratio_values(part, whole).tolist()) == pytest.approx(bounds, abs=0.004)
    assert bounds[1] - bounds[0] > 0.04


def test_interval_of_a_mean_is_cut_to_what_a_share_can_be() -> None:
    assert mean_interval([0.0, 1.0]) == (0.0, 1.0)  # 0.5 and 12.706 * 0.5
    # mean 0.85, standard deviation of the mean 0.05: 0.85 - 0.635 and more than 1
    assert mean_interval([0.8, 0.9]) == pytest.approx((0.2147, 1.0), abs=1e-4)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_of_a_hundred_intervals_ninety_five_hold_the_mean_however_few_the_samples(n: int) -> None:
    random = torch.Generator().manual_seed(n)
    draws = (0.5 + 0.02 * torch.randn(4000, n, dtype=torch.float64, generator=random)).tolist()
    covers = [low <= 0.5 <= high for low, high in filter(None, map(mean_interval, draws))]
    # binomial: 0.95 with a standard deviation of sqrt(0.95 * 0.05 / 4000) = 0.0034; by the normal quantile 0.70
    assert sum(covers) / len(draws) == pytest.approx(0.95, abs=4 * 0.0034)
    differences = [paired_difference([0.5] * n, draw) for draw in draws]
    assert [low <= 0 <= high for _, low, high in differences] == covers


def test_a_sum_is_exact_in_every_order() -> None:
    values = [1e8, 1.0, -1e8, 2.0**-30]  # in float32 the sum of the first two is the first
    sums = {exact_sum(torch.tensor(order)) for order in permutations(values)}
    assert sums == {1 + 2.0**-30}


@pytest.mark.parametrize(("values", "expected"), [([], 0.0), ([1.0, inf], inf), ([inf, -inf], nan), ([nan, inf], nan)])
def test_a_sum_of_what_is_not_finite_is_not_finite(values: list[float], expected: float) -> None:
    assert exact_sum(torch.tensor(values)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 * 1/2
        (0, 5, 2 / 32),
        (1, 5, 2 * (1 + 6) / 64),
        (3, 3, 1.0),  # 2 * 42/64, which is not a probability
        (10, 2, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_mcnemars_exact_test_by_hand(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


def test_mcnemars_test_of_many_samples_stays_exact() -> None:
    assert mcnemar(0, 1000) == pytest.approx(2 / 2**1000)
    # the normal approximation at 1.96 standard deviations: half of sqrt(10000) is 50, and 5000 - 98 is that far away
    assert mcnemar(4902, 5098) == pytest.approx(0.05, abs=0.002)


def test_a_paired_difference_by_hand() -> None:
    mean, low, high = paired_difference([0.1, 0.2, 0.3], [0.2, 0.4, 0.6])  # 0.1, 0.2, 0.3: variance 0.01
    assert mean == pytest.approx(0.2)
    # t(0.975, 2) = 4.3027
    assert high - mean == pytest.approx(mean - low) == pytest.approx(4.3027 * 0.1 / 3**0.5, abs=1e-5)


def test_a_paired_difference_is_cut_to_what_shares_can_differ_by() -> None:
    assert paired_difference([0.5, 0.5], [0.5, 1.0]) == (0.25, -1.0, 1.0)  # 0.25 and 12.706 * 0.25


def test_the_spread_of_a_single_difference_is_unknown() -> None:
    mean, low, high = paired_difference([0.25], [0.5])
    assert mean == 0.25
    assert low != low
    assert high != high


def test_holm_multiplies_by_the_tests_that_are_left_and_never_falls() -> None:
    """Ascending 0.01 * 4, 0.02 * 3, 0.03 * 2 = 0.06, not below 0.06, 0.5 * 1; in the order that was given."""
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
