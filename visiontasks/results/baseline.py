"""What a measurement is compared with: one constant answer for all images, and what may be wrong where it wins."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from visiontasks.data.audit.annotations import MOST_DECODED, SplitAnnotations
from visiontasks.errors import InputError
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.tasks.base import Split

FEW_SAMPLES = 50
"""Below these the interval of a metric is wide."""
LITTLE_LEARNED = 0.9
"""A training loss whose last value is above this share of its first has not fallen."""


def measure_baseline(cli: RecipeCLI, split: Split) -> dict[str, Any] | None:
    """The task's baseline on what was measured of a split, from its annotations alone.

    The answer is chosen by the training split; by the measured one where the data has no training split.

    Args:
        cli: Has the data and the task, which was measured.
        split: Of the data.

    Returns:
        `name`, `meaning` and `metrics` as in result.json; None where the task has none, or annotations cannot be read.
    """
    data, index = cli.datamodule, cli.model.sample_table(split)["index"].tolist()
    rows = None if len(index) == data.split_sizes[split] else index
    measured = SplitAnnotations(data, split, rows=rows)
    in_train = "train" in data.split_sizes
    training = SplitAnnotations(data, "train", most_decoded=MOST_DECODED) if in_train else measured
    try:
        found = cli.model.baseline(training, measured, data.class_names)
    except (InputError, OSError):  # what was measured is worth more than this
        return None
    return found.to_json(split) if found else None


def baseline_value(result: Mapping[str, Any], name: str) -> float | None:
    """The baseline's value of a metric of a result; None without one."""
    value: float | None = ((result.get("baseline") or {}).get("metrics") or {}).get(name)
    return value


def headline_name(result: Mapping[str, Any]) -> str:
    """The name, with the split, of the metric that the best epoch is chosen by."""
    names: Mapping[str, Any] = result["metrics"]
    return next(name for name in names if name.rpartition("/")[2] == result["headline"])


def beats_baseline(result: Mapping[str, Any]) -> bool:
    """Whether the headline metric is better than the baseline.

    Its whole 95 % interval has to be on the better side; the value itself where it has no interval. True where there is
    no baseline.
    """
    name = headline_name(result)
    entry, baseline = result["metrics"].get(name), baseline_value(result, name)
    if entry is None or baseline is None:
        return True
    low, high = entry.get("interval95") or (entry["value"], entry["value"])
    return bool(high < baseline) if entry.get("lower_is_better") else bool(low > baseline)


def likely_causes(result: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> list[str]:
    """Why a training may not beat its baseline, the most likely cause first.

    Args:
        result: Of the training.
        history: Rows of metrics.csv.
    """
    losses = [row["train/loss"] for row in history if isfinite(row.get("train/loss", float("nan")))]
    n = result["samples"]["evaluated"]
    causes = [f"only {n:,} samples were measured, so the interval is wide"] if n < FEW_SAMPLES else []
    if losses:
        fall = f"train/loss {losses[0]:.3g} in the first epoch, {losses[-1]:.3g} in the last"
        if losses[-1] > LITTLE_LEARNED * losses[0]:
            causes.append(
                f"little was learned ({fall}): train longer (--trainer.max_epochs) or change --model.optimizer.lr"
            )
        else:
            causes.append(f"it learned its training images ({fall}) but not what they have in common: add images")
    causes.append("annotations that do not fit the images: look at the report's pictures, run visiontasks check-data")
    return causes
