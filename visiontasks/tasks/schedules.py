"""Learning rate schedules, given in epochs and built once the number of steps is known."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, inf, pi
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from visiontasks.errors import InputError


class Schedule(ABC):
    """How the learning rate of every parameter group changes over a training."""

    @abstractmethod
    def build(self, optimizer: Optimizer, *, steps_per_epoch: int, num_steps: int) -> dict[str, Any]:
        """Make the scheduler as Lightning's `lr_scheduler` entry.

        Args:
            optimizer: Its groups hold the peak learning rates.
            steps_per_epoch: Optimizer steps in one epoch.
            num_steps: Optimizer steps in the whole training.
        """


class FactorSchedule(Schedule):
    """A schedule that is a factor on the peak learning rate, a function of the step alone."""

    @abstractmethod
    def factor(self, step: int, *, steps_per_epoch: int, num_steps: int) -> float:
        """Factor in [0, 1] for the update number `step`, 0 for the first."""

    def build(self, optimizer: Optimizer, *, steps_per_epoch: int, num_steps: int) -> dict[str, Any]:
        """Make a scheduler that is stepped after each update."""

        def factor(step: int) -> float:
            return self.factor(step, steps_per_epoch=steps_per_epoch, num_steps=num_steps)

        return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


@dataclass(frozen=True)
class Constant(FactorSchedule):
    """The same learning rate from start to end, after an optional linear warm-up.

    Args:
        warmup_epochs: Length of the warm-up, may be a fraction.
    """

    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _check("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs < inf, "0 or more")

    def factor(self, step: int, *, steps_per_epoch: int, num_steps: int) -> float:
        """Linear warm-up, then 1."""
        return _warmup(step, round(self.warmup_epochs * steps_per_epoch))


@dataclass(frozen=True)
class Cosine(FactorSchedule):
    """Half a cosine from the peak to `final_factor`, after an optional linear warm-up.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without restarts.

    Args:
        warmup_epochs: Length of the warm-up, may be a fraction.
        final_factor: Factor on the peak learning rate after the last step, in [0, 1].
    """

    warmup_epochs: float = 0.0
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        _check("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs < inf, "0 or more")
        _check("final_factor", self.final_factor, 0 <= self.final_factor <= 1, "in [0, 1]")

    def factor(self, step: int, *, steps_per_epoch: int, num_steps: int) -> float:
        """Linear warm-up, then half a cosine."""
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup_steps:
            return _warmup(step, warmup_steps)
        return _half_cosine(1.0, self.final_factor, (step - warmup_steps) / max(1, num_steps - warmup_steps))


@dataclass(frozen=True)
class Step(FactorSchedule):
    """The learning rate is multiplied by `gamma` at each milestone.

    Args:
        milestones: Epochs before which the change happens, rising: [82, 123] changes at the start of the 83rd
            and 124th epoch.
        gamma: The factor, in (0, 1].
        warmup_epochs: Length of a linear warm-up, may be a fraction.
    """

    milestones: Sequence[float]
    gamma: float = 0.1
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _check("milestones", self.milestones, all(0 <= epoch < inf for epoch in self.milestones), "0 or more each")
        _check("gamma", self.gamma, 0 < self.gamma <= 1, "in (0, 1]")
        _check("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs < inf, "0 or more")

    def factor(self, step: int, *, steps_per_epoch: int, num_steps: int) -> float:
        """Power of gamma by the number of milestones reached."""
        reached = sum(step >= round(epoch * steps_per_epoch) for epoch in self.milestones)
        return float(self.gamma**reached) * _warmup(step, round(self.warmup_epochs * steps_per_epoch))


@dataclass(frozen=True)
class OneCycle(FactorSchedule):
    """Up to the peak and down again in one cycle, momentum left alone.

    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2018,
    with the values of torch's OneCycleLR (cosine up and down). That one itself divides by zero where the way up is
    one step long, and cannot resume into a training with more epochs.

    Args:
        warmup_fraction: Share of the training spent on the way up, in [0, 1].
        start_divisor: The first learning rate is the peak divided by this, at least 1.
        final_divisor: The last learning rate is the first divided by this, at least 1.
    """

    warmup_fraction: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        _check("warmup_fraction", self.warmup_fraction, 0 <= self.warmup_fraction <= 1, "in [0, 1]")
        _check("start_divisor", self.start_divisor, 1 <= self.start_divisor < inf, "1 or more")
        _check("final_divisor", self.final_divisor, 1 <= self.final_divisor < inf, "1 or more")

    def factor(self, step: int, *, steps_per_epoch: int, num_steps: int) -> float:
        """Half a cosine up, half a cosine down."""
        first = 1 / self.start_divisor
        peak_step = max(0.0, self.warmup_fraction * num_steps - 1)
        if step < peak_step:
            return _half_cosine(first, 1.0, step / peak_step)
        steps_down = num_steps - 1 - peak_step
        return _half_cosine(1.0, first / self.final_divisor, (step - peak_step) / steps_down if steps_down else 0.0)


@dataclass(frozen=True)
class Plateau(Schedule):
    """The learning rate is multiplied by `factor` when the validation error stops improving.

    The rule of Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012, who
    divided by 10 by hand.

    Args:
        factor: The factor, in (0, 1).
        patience_epochs: Validations (one an epoch by default) without a lower value that are
            waited for.
        monitor: Name of the metric of a validation, lower is better.
    """

    factor: float = 0.1
    patience_epochs: int = 2
    monitor: str = "val/loss"

    def __post_init__(self) -> None:
        _check("factor", self.factor, 0 < self.factor < 1, "in (0, 1)")
        _check("patience_epochs", self.patience_epochs, self.patience_epochs >= 0, "0 or more")

    def build(self, optimizer: Optimizer, *, steps_per_epoch: int, num_steps: int) -> dict[str, Any]:
        """Make a scheduler that is stepped after each validation."""
        scheduler = ReduceLROnPlateau(optimizer, factor=self.factor, patience=self.patience_epochs)
        return {"scheduler": scheduler, "interval": "epoch", "reduce_on_plateau": False}  # the task steps it

    def metric(self, values: dict[str, Tensor]) -> float:
        """The value to go by.

        Args:
            values: A validation's metrics by name.

        Raises:
            InputError: If the monitored one is not among them.
        """
        if self.monitor not in values:
            raise InputError(
                f"model.init_args.schedule.init_args.monitor is {self.monitor}, but a validation gives: "
                f"{', '.join(values)}"
            )
        return float(values[self.monitor])


def _warmup(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def _half_cosine(start: float, end: float, progress: float) -> float:
    """From start (progress 0) to end (progress 1 and beyond)."""
    return end + (start - end) * (1 + cos(pi * min(1.0, progress))) / 2


def _check(key: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise InputError(f"model.init_args.schedule.init_args.{key} must be {expected}, got {value}")
