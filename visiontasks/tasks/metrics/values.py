"""What a metric means, declared beside its computation, and its value with interval and sample count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any

from torch import Tensor

from visiontasks.ops.metrics import mean_interval, wilson_interval

BY_SAMPLE = "_by_sample"
"""At the end of a metric's name: values of the samples, of which it is the mean."""


@dataclass(frozen=True)
class MetricFacts:
    """What a metric is.

    Args:
        meaning: What it measures, a phrase.
        headline: The end of the sentence that begins with its value, with `{split}` for the split.
        is_share: Whether it is a share of the n samples, which has a count and Wilson's interval.
        in_percent: Whether people read it in per cent.
        lower_is_better: Whether a lower value is better.
        note: How it relates to the scores of single samples.
        is_detail: Whether the summary at the end of a training leaves it out, since it follows from another metric or
            needs explanation.
    """

    meaning: str = ""
    headline: str = ""
    is_share: bool = False
    in_percent: bool = False
    lower_is_better: bool = False
    note: str = ""
    is_detail: bool = False

    def to_json(self) -> dict[str, Any]:
        """What result.json stores beside the value; what is empty or false is left out."""
        return {name: value for name, value in vars(self).items() if value and name != "is_share"}


@dataclass(frozen=True)
class MetricValue:
    """A metric of a measured split.

    Args:
        name: Without the split, as `top1`.
        value: Over all samples, NaN where it is not defined.
        n: Samples, or objects, that it is over.
        facts: What it is.
        interval: Bounds of its 95 % interval; None where it has none.
        by_class: Its value for each class, NaN where it is not defined; empty for a metric of all classes together.
    """

    name: str
    value: float
    n: int
    facts: MetricFacts = MetricFacts()
    interval: tuple[float, float] | None = None
    by_class: tuple[float, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The entry in result.json."""
        entry: dict[str, Any] = {"value": self.value, "n": self.n}
        interval = self.interval
        if self.facts.is_share and not isnan(self.value):
            count = round(self.value * self.n)
            entry |= {"value": count / self.n, "count": count}
            interval = wilson_interval(count, self.n)
        return entry | ({"interval95": list(interval)} if interval else {}) | self.facts.to_json()


def facts_of(metrics: object) -> Mapping[str, MetricFacts]:
    """What is declared beside the computation of metrics; nothing for those of another library."""
    facts: Mapping[str, MetricFacts] = getattr(metrics, "facts", {})
    return facts


def metric_values(
    computed: Mapping[str, Tensor], facts: Mapping[str, MetricFacts], scores: Tensor, score_metric: str | None
) -> list[MetricValue]:
    """Join what metrics compute with what is declared of them.

    Args:
        computed: See the argument `metrics` of `visiontasks.tasks.Task`.
        facts: By name.
        scores: Of the samples, (n,).
        score_metric: The metric that is their mean.
    """
    n = round(float(computed.get("n", len(scores))))
    by_sample = {name.removesuffix(BY_SAMPLE): each for name, each in computed.items() if name.endswith(BY_SAMPLE)}
    by_sample |= {score_metric: scores} if score_metric else {}
    found = []
    for name, value in computed.items():
        fact = facts.get(name, MetricFacts())
        if name == "n" or name.endswith(BY_SAMPLE):
            continue
        if value.ndim == 0:
            of_samples = by_sample.get(name, scores[:0])
            interval = mean_interval(of_samples[~of_samples.isnan()].flatten().tolist())
            found.append(MetricValue(name, float(value), n, fact, interval))
        elif value.ndim == 1:
            found.append(MetricValue(name, nan, n, fact, by_class=tuple(value.tolist())))
    return found
