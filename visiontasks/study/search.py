"""What a search over recipe keys varies, and what its trials found."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from visiontasks.errors import InputError

FORM = "KEY=LOW..HIGH or KEY=A,B,C, as in data.batch_size=16,32 or model.optimizer.lr=1e-4..1e-1"
LOG_FROM = 10.0
"""Ratio of the ends from which on a range above 0 is searched by its logarithm."""
FINISHED, STOPPED_EARLY, FAILED = "finished", "stopped early", "failed"


@dataclass(frozen=True)
class Varied:
    """A recipe key and the values that are tried.

    Args:
        key: As in a recipe, without dashes.
        low: Lowest value of a range.
        high: Highest value.
        is_whole: Whether the values are whole numbers.
        choices: Values in place of a range, as written.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    is_whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_log(self) -> bool:
        """Whether its logarithm is searched."""
        return not self.choices and self.low > 0 and self.high / self.low >= LOG_FROM

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Args:
        number: From 1.
        values: By key.
        value: Of the monitored metric in the best epoch, on validation; None without one.
        state: `FINISHED`, `STOPPED_EARLY` or `FAILED`.
        error: Why it failed.
    """

    number: int
    values: Mapping[str, Any]
    value: float | None
    state: str
    error: str = ""


def parse_varied(text: str) -> Varied:
    """Read `--vary`.

    Raises:
        InputError: If it has neither form, or the ends are not in order.
    """
    key, equals, written = (part.strip() for part in text.partition("="))
    key = key.lstrip("-")
    if not equals or "." not in key or not written:
        raise InputError(f"--vary {text}: expected {FORM}")
    ends = re.fullmatch(r"(\S+?)\s*\.\.\s*(\S+)", written)
    if ends is None:
        choices = tuple(part.strip() for part in written.split(","))
        if len(set(choices)) < max(2, len(choices)) or not all(choices):
            raise InputError(f"--vary {text}: expected two or more different values, or LOW..HIGH")
        return Varied(key, choices=choices)
    try:
        low, high = float(ends[1]), float(ends[2])
    except ValueError:
        raise InputError(f"--vary {text}: {written} is no range of numbers; expected {FORM}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"--vary {text}: expected a lower and a higher number")
    is_whole = all(re.fullmatch(r"-?\d+", end) is not None for end in ends.groups())
    return Varied(key, low, high, is_whole)


def best_trial(trials: Sequence[Trial], *, lower_is_better: bool) -> Trial | None:
    """The best of those that finished, the first of equal ones; None without any."""
    known = [trial for trial in trials if trial.state == FINISHED and trial.value is not None]
    return min(known, key=lambda each: (each.value or 0.0) * (1 if lower_is_better else -1), default=None)


def recipe_text(recipe: str, best: Trial, trials: int, monitor: str, images: int, day: str) -> str:
    """The best trial's recipe with a head comment.

    Args:
        recipe: As its training wrote it.
        best: The trial.
        trials: How many there were.
        monitor: The metric.
        images: Of the validation split.
        day: When.
    """
    head = (
        f"# Best of {trials} trials of visiontasks study search, {day}: {monitor} {best.value:.4f} in its best epoch,\n"
        f"# on {images:,} validation images. The best of several is better by chance too; test images were not read.\n"
    )
    return head + recipe
