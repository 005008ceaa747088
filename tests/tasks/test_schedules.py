from math import nan
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from visiontasks.errors import InputError
from visiontasks.tasks import Constant, Cosine, OneCycle, Plateau, Schedule, Step

COS_45, COS_135 = 0.8535533906, 0.1464466094  # (1 + cos) / 2
STEPS_PER_EPOCH = 2


def make_optimizer() -> SGD:
    """Two groups, the second with a tenth of the learning rate."""
    return SGD([{"params": [nn.Parameter(torch.ones(1))]}, {"params": [nn.Parameter(torch.ones(1))], "lr": 0.1}], lr=1)


def rates(optimizer: Optimizer, scheduler: Any, num_steps: int) -> list[list[float]]:
    found = []
    for _ in range(num_steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), [1, 1, 1]),
        (Constant(warmup_epochs=1.5), [1 / 3, 2 / 3, 1, 1, 1]),
        (Cosine(), [1, COS_45, 0.5, COS_135]),
        (Cosine(final_factor=0.2), [1, 0.2 + 0.8 * COS_45, 0.6, 0.2 + 0.8 * COS_135]),
        (Cosine(warmup_epochs=1), [0.5, 1, 1, COS_45, 0.5, COS_135]),
        (Cosine(warmup_epochs=2), [0.25, 0.5, 0.75]),
        (Step([1, 2]), [1, 1, 0.1, 0.1, 0.01, 0.01]),
        (Step([0.5, 1.5], gamma=0.5), [1, 0.5, 0.5, 0.25, 0.25]),
        (Step([2], warmup_epochs=1), [0.5, 1, 1, 1, 0.1, 0.1]),
        (Step([]), [1, 1]),
        # 3 steps up from 1/4, whose third is the peak, 3 down to 1/32: 1/32 + 31/32 of 3/4, 1/4, 0
        (OneCycle(0.5, start_divisor=4, final_divisor=8), [0.25, 0.625, 1, 0.7578125, 0.2734375, 0.03125]),
        (OneCycle(1, start_divisor=4), [0.25, 0.625, 1]),
        (OneCycle(0.25, start_divisor=4, final_divisor=1), [1, 0.8125, 0.4375, 0.25]),
        (OneCycle(), [1]),
    ],
)
def test_factors_by_hand(schedule: Schedule, factors: list[float]) -> None:
    optimizer = make_optimizer()
    entry = schedule.build(optimizer, steps_per_epoch=STEPS_PER_EPOCH, num_steps=len(factors))
    found = rates(optimizer, entry["scheduler"], len(factors))
    assert [rate for rate, _ in found] == pytest.approx(factors)
    assert [rate for _, rate in found] == pytest.approx([0.1 * factor for factor in factors])
    assert entry["interval"] == "step"


def test_cosine_ends_at_its_final_factor_and_stays_there() -> None:
    ended = [Cosine(final_factor=0.2).factor(step, steps_per_epoch=2, num_steps=4) for step in (4, 5, 9)]
    assert ended == pytest.approx([0.2, 0.2, 0.2])


@pytest.mark.parametrize("num_steps", [7, 40])
@pytest.mark.parametrize("warmup_fraction", [0.2, 0.3, 0.5])
def test_one_cycle_is_torch_s(num_steps: int, warmup_fraction: float) -> None:
    ours, theirs = make_optimizer(), make_optimizer()
    scheduler = OneCycle(warmup_fraction).build(ours, steps_per_epoch=1, num_steps=num_steps)["scheduler"]
    peer = OneCycleLR(theirs, [1, 0.1], num_steps, pct_start=warmup_fraction, cycle_momentum=False)
    assert rates(ours, scheduler, num_steps) == [pytest.approx(step) for step in rates(theirs, peer, num_steps)]


def test_plateau_reduces_after_patience_and_counts_anew_after_a_lower_value() -> None:
    optimizer = make_optimizer()
    scheduler = Plateau(factor=0.5, patience_epochs=2).build(optimizer, steps_per_epoch=2, num_steps=99)["scheduler"]
    found = []
    for error in (1.0, 1.0, 1.1, 0.9, 0.9, 0.9, 0.9, 0.9):
        scheduler.step(error)
        found.append(optimizer.param_groups[0]["lr"])
    # two epochs without a lower value are waited for, the third is too much
    assert found == [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    assert optimizer.param_groups[1]["lr"] == 0.05


def test_plateau_goes_by_its_metric() -> None:
    values = {"val/loss": torch.tensor(2.0), "val/top1_error": torch.tensor(0.5)}
    assert Plateau().metric(values) == 2
    assert Plateau(monitor="val/top1_error").metric(values) == 0.5
    with pytest.raises(InputError, match="monitor is val/top2, but a validation gives: val/loss, val/top1_error"):
        Plateau(monitor="val/top2").metric(values)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Constant, {"warmup_epochs": -1}),
        (Constant, {"warmup_epochs": nan}),
        (Cosine, {"warmup_epochs": -1}),
        (Cosine, {"final_factor": -0.1}),
        (Cosine, {"final_factor": 1.5}),
        (Step, {"milestones": [1, -1]}),
        (Step, {"milestones": [1], "gamma": 0}),
        (Step, {"milestones": [1], "gamma": 1.1}),
        (Step, {"milestones": [1], "warmup_epochs": -1}),
        (OneCycle, {"warmup_fraction": 1.1}),
        (OneCycle, {"warmup_fraction": -0.1}),
        (OneCycle, {"start_divisor": 0}),
        (OneCycle, {"final_divisor": 0.5}),
        (Plateau, {"factor": 1}),
        (Plateau, {"factor": 0}),
        (Plateau, {"patience_epochs": -1}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_values_out_of_range_are_refused_at_once(kind: Any, options: dict[str, Any]) -> None:
    key = list(options)[-1]
    with pytest.raises(
        InputError, match=rf"schedule.init_args.{key} must be .*, got .*{options[key]}".replace("[", ".")
    ):
        kind(**options)
