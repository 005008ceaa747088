"""How good a recipe is by folds, with an interval that respects their overlap, and how far seeds change its result.

Any two trainings of K folds share most of their images, so that their results vary less than those of independent
trainings. Claude Nadeau, Yoshua Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003: the mean
of J results has (1/J + n_test/n_train) times their sample variance, and follows Student's t with J - 1 degrees of
freedom. They derive it for divisions at random; here it is used for folds, as by Remco Bouckaert and Eibe Frank,
"Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms", 2004.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A metric over several trainings.

    Args:
        name: With its split, `test/top1`.
        mean: Of the trainings.
        deviation: Their standard deviation.
        values: Of each.
        counts: Images, or objects, each is over, and how many of them were right (None for what is no share).
        low: Lower bound of the 95 % interval; None for seeds, whose spread says nothing of other images.
        high: Upper bound.
    """

    name: str
    mean: float
    deviation: float
    values: Sequence[float]
    counts: Sequence[tuple[int, int | None]]
    low: float | None = None
    high: float | None = None

    @property
    def n(self) -> int:
        """Images, or objects, of all trainings."""
        return sum(n for n, _ in self.counts)

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "n": self.n}


def overlapping_interval(values: Sequence[float], test_share: float) -> tuple[float, float]:
    """The 95 % interval of the mean of trainings whose training images overlap.

    Args:
        values: Of each training, two or more.
        test_share: Images that each was tested on, divided by those it was trained and chosen on: 1/4 for 5 folds.

    Returns:
        Lower and upper bound.
    """
    from scipy.special import stdtrit  # takes long to import

    width = float(stdtrit(len(values) - 1, 0.975)) * sqrt(1 / len(values) + test_share) * stdev(values)
    return mean(values) - width, mean(values) + width


def estimates(results: Sequence[Mapping[str, Any]], test_share: float | None) -> list[Estimate]:
    """The metrics that all trainings have, without details.

    Args:
        results: The content of each result.json, two or more.
        test_share: As for `overlapping_interval`; None for seeds.
    """
    entries = [result["metrics"] for result in results]
    names = [name for name, entry in entries[0].items() if not entry.get("is_detail")]
    return [
        _estimate(name, [each[name] for each in entries], test_share)
        for name in names
        if all(each.get(name, {}).get("value") is not None for each in entries)
    ]


def _estimate(name: str, entries: Sequence[Mapping[str, Any]], test_share: float | None) -> Estimate:
    values = [float(entry["value"]) for entry in entries]
    counts = [(int(entry["n"]), entry.get("count")) for entry in entries]
    made = Estimate(name, mean(values), stdev(values), values, counts)
    if test_share is None:
        return made
    low, high = overlapping_interval(values, test_share)
    if all(count is not None for _, count in counts):  # a share
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(name, made.mean, made.deviation, values, counts, low, high)


def header_line(estimate: Estimate, seeds: Sequence[int], where: str) -> str:
    """What the head comment of a recipe has of a metric.

    Args:
        estimate: Over the seeds.
        seeds: Of each training.
        where: Hardware, threads, version and date.
    """
    of = ""
    if all(count is not None for _, count in estimate.counts) and len({n for n, _ in estimate.counts}) == 1:
        right = [str(count) for _, count in estimate.counts]
        of = f"; {', '.join(right[:-1])} and {right[-1]} of {estimate.counts[0][0]:,}"
    return (
        f"# measured: {estimate.name} {estimate.mean:.4f}, standard deviation {estimate.deviation:.4f}, "
        f"n={len(seeds)} seeds ({', '.join(map(str, seeds))}{of}), {where}"
    )
