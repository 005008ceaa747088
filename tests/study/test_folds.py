"""The mean of trainings that share images, and of seeds."""

from typing import Any

import pytest

from visiontasks.study.folds import estimates, header_line, overlapping_interval

VALUES = [0.90, 0.92, 0.94, 0.96, 0.98]
"""Mean 0.94, standard deviation sqrt(0.004 / 4) = 0.0316228."""


def result(right: int, *, loss: float = 0.5, n: int = 100) -> dict[str, Any]:
    return {
        "metrics": {
            "test/top1": {"value": right / n, "n": n, "count": right},
            "test/loss": {"value": loss, "n": n},
            "test/top5": {"value": 1.0, "n": n, "count": n, "is_detail": True},
        }
    }


def test_the_interval_of_five_folds_is_that_of_nadeau_and_bengio() -> None:
    """2.776445 * sqrt(1/5 + 1/4) * 0.0316228 = 0.0588977; without the overlap 0.0392649."""
    low, high = overlapping_interval(VALUES, 1 / 4)
    assert low == pytest.approx(0.94 - 0.0588977, abs=1e-6)
    assert high == pytest.approx(0.94 + 0.0588977, abs=1e-6)
    assert overlapping_interval(VALUES, 0.0)[1] == pytest.approx(0.94 + 0.0392649, abs=1e-6)


def test_more_repeats_do_not_shrink_the_interval_to_nothing() -> None:
    """The term of the overlap stays: with 100 repeats of the same five results 1.965 * 0.0283 * sqrt(0.252)."""
    low, high = overlapping_interval(VALUES * 100, 1 / 4)
    assert (high - low) / 2 == pytest.approx(0.0279, abs=1e-3)


def test_shares_stay_between_0_and_1_and_details_are_left_out() -> None:
    found = estimates([result(90), result(100)], 1.0)
    assert [each.name for each in found] == ["test/top1", "test/loss"]
    top1, loss = found
    assert (top1.mean, top1.n, top1.high) == (0.95, 200, 1.0)
    assert top1.deviation == pytest.approx(0.0707107, abs=1e-6)
    assert (loss.low, loss.high) == (0.5, 0.5)


def test_a_metric_that_one_training_does_not_have_is_left_out() -> None:
    other = result(90)
    other["metrics"]["test/loss"]["value"] = None
    assert [each.name for each in estimates([result(90), other], 0.25)] == ["test/top1"]


def test_seeds_have_a_spread_and_the_form_of_a_recipe_s_head_comment() -> None:
    top1 = estimates([result(354, n=359), result(355, n=359), result(354, n=359)], None)[0]
    assert (top1.low, top1.high) == (None, None)
    assert header_line(top1, [0, 1, 2], "x86_64, 2 threads, visiontasks 0.1.0, 2026-12-01") == (
        "# measured: test/top1 0.9870, standard deviation 0.0016, n=3 seeds (0, 1, 2; 354, 355 and 354 of 359), "
        "x86_64, 2 threads, visiontasks 0.1.0, 2026-12-01"
    )
