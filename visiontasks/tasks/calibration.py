"""What a classification learns from validation images about its own probabilities, and how well it holds elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from visiontasks.errors import InputError
from visiontasks.ops.calibration import fit_temperature, least_values, rank_for, tempered_softmax
from visiontasks.ops.class_scores import calibration_bins, expected_calibration_error
from visiontasks.ops.metrics import exact_sum, wilson_interval
from visiontasks.tasks.report_sections import ReportSection, ValueTable

PROMISES = (0.9, 0.95, 0.99)
"""Coverages that are measured."""
_TEXT = (
    "The network's outputs were divided by {temperature:g}, its temperature, before they became probabilities (Guo et "
    "al., 2017). It was chosen on {n:,} validation images and changes no answer. ECE is the mean gap between how sure "
    "predictions are and how many of them are right; log loss punishes confident mistakes. With --coverage, an answer "
    "is a set of classes that holds the true one in the promised share of images like the validation images, on "
    "average over images and not for each class.{in_sample}"
)
_IN_SAMPLE = " These are the validation images themselves, for which all of it is too good."


@dataclass(frozen=True, eq=False)
class Calibration:
    """What validation images tell about a network's probabilities.

    Sets of classes are those of Mauricio Sadinle, Jing Lei and Larry Wasserman, "Least Ambiguous Set-Valued Classifiers
    With Bounded Error Levels", 2019, https://arxiv.org/abs/1609.00451: all classes whose probability reaches one limit,
    which is chosen on calibration images. No other score gives smaller sets on average at the same coverage, and it
    needs no random numbers, so that an image always gets the same set; the adaptive sets of Romano, Sesia and Candès,
    "Classification with Valid and Adaptive Coverage", 2020, are larger. Deviation: the most probable class is always in
    the set, which is then never empty; that can only add coverage.

    Args:
        temperature: By which logits are divided.
        probability: Of the true class of each validation image, with the temperature, float32 (n,), ascending.
    """

    temperature: float
    probability: Tensor

    @classmethod
    def fit(cls, logits: Tensor, label: Tensor) -> Self | None:
        """Choose a temperature, see `fit_temperature`; None where no image has finite logits.

        Args:
            logits: Of the validation images, (n, K).
            label: Their class indices, (n,).
        """
        known = logits.isfinite().all(1)
        logits, label = logits[known].detach().cpu().float(), label[known].cpu()
        if not len(label):
            return None
        temperature = fit_temperature(logits, label)
        of_label = tempered_softmax(logits, temperature).gather(1, label.unsqueeze(1)).squeeze(1)
        return cls(temperature, of_label.sort().values)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives.

        Raises:
            InputError: If it is something else.
        """
        try:
            probability = torch.tensor(entry["true_class_probability"], dtype=torch.float32)
            temperature = float(entry["temperature"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"the stored calibration cannot be read ({type(error).__name__}: {error})") from error
        if not temperature > 0 or probability.ndim != 1:
            raise InputError(f"the stored calibration has a temperature of {temperature}, expected above 0")
        return cls(temperature, probability)

    @property
    def n(self) -> int:
        """Number of validation images."""
        return len(self.probability)

    def least_probability(self, coverage: float) -> float:
        """What a class needs to be in an image's set.

        Args:
            coverage: Share of images whose set holds the true class, above 0 and below 1.

        Raises:
            InputError: If it is out of range, or there are too few validation images for it.
        """
        return float(self.probability[self.n - rank_for(coverage, self.n)])

    def to_json(self) -> dict[str, Any]:
        """Values for a checkpoint or a JSON file."""
        return {"temperature": self.temperature, "true_class_probability": self.probability.tolist()}

    def measured(self, logits: Tensor, label: Tensor, split: str) -> dict[str, Any]:
        """How well it holds on images: `calibration` of result.json.

        Args:
            logits: (n, K).
            label: Class indices, (n,).
            split: "test", or "val", whose images chose the temperature themselves.

        Returns:
            `ece` and `log_loss` `before` and `after`; for each coverage that the validation images suffice for, the
            share of sets with the true class, and their mean size.
        """
        known = logits.isfinite().all(1)
        logits, label = logits[known].cpu().float(), label[known].cpu()
        probability = tempered_softmax(logits, self.temperature)
        return {
            "temperature": self.temperature,
            "fitted_on": self.n,
            "split": split,
            "n": len(label),
            "before": _quality(logits, 1.0, label),
            "after": _quality(logits, self.temperature, label),
            "sets": [
                self._covered(probability, label, promise) for promise in PROMISES if self.n >= least_values(promise)
            ],
        }

    def _covered(self, probability: Tensor, label: Tensor, promise: float) -> dict[str, Any]:
        """How many sets of images hold their true class."""
        inside = probability >= self.least_probability(promise)
        inside[torch.arange(len(label)), probability.argmax(1)] = True
        count, n = int(inside.gather(1, label.unsqueeze(1)).sum()), len(label)
        return {
            "promised": promise,
            "value": count / n,
            "count": count,
            "n": n,
            "interval95": list(wilson_interval(count, n)),
            "mean_size": int(inside.sum()) / n,
        }


def calibration_section(measured: Mapping[str, Any]) -> ReportSection:
    """What the report shows of `Calibration.measured`."""
    before, after = measured["before"], measured["after"]
    in_sample = _IN_SAMPLE if measured["split"] == "val" else ""
    text = _TEXT.format(temperature=measured["temperature"], n=measured["fitted_on"], in_sample=in_sample)
    names = (("ece", "ECE"), ("log_loss", "log loss"))
    quality = ValueTable(
        (f"{measured['n']:,} images", "before", "after"),
        [(title, round(before[name], 4), round(after[name], 4)) for name, title in names],
    )
    sets = ValueTable(
        ("promised coverage", "coverage", "95 % interval", "sets with the true class", "mean size of a set"),
        [
            (
                f"{each['promised']:.0%}",
                f"{each['value']:.2%}",
                "{:.2%} to {:.2%}".format(*each["interval95"]),
                f"{each['count']:,} of {each['n']:,}",
                round(each["mean_size"], 3),
            )
            for each in measured["sets"]
        ],
    )
    return ReportSection("Temperature and sets of classes", text, [quality, *([sets] if measured["sets"] else [])])


def _quality(logits: Tensor, temperature: float, label: Tensor) -> dict[str, float]:
    """Expected calibration error and log loss of logits (n, K) over a temperature."""
    largest, predicted = tempered_softmax(logits, temperature).max(1)
    bins = calibration_bins(largest.clamp(max=1).tolist(), (predicted == label).tolist())
    losses = F.cross_entropy(logits.double() / temperature, label, reduction="none")
    return {"ece": expected_calibration_error(bins), "log_loss": exact_sum(losses) / len(label)}
