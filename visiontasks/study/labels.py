"""Which labels are probably wrong, ranked, and about how many there are.

Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021, rank labels by the cross-fitted
probability of the label, as here. Their count takes every confident disagreement for a wrong label, also where the
images are hard; here it is counted among the images that the heads are surest of, whose disagreements are hardly the
heads' own mistakes, and that share is taken for the others. That supposes that hard images are not mislabelled more
often than easy ones; where they are, the count is too low.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom, fisher_exact

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.study.crossfit import FOLDS, Float64Array, crossfit
from visiontasks.study.features import Features

QUARTERS = 4
LEAST_SUREST = 20
"""Images; of fewer no share is taken."""
DIFFERENT = 0.1
"""p of Fisher's test, below which a quarter of the images has a higher share of disagreements than the surer ones."""


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong.

    Args:
        name: Its file, or split and row.
        split: Where it is.
        row: Its row there.
        label: Its class as annotated.
        predicted: The most probable class.
        p_label: Cross-fitted probability of the label.
        p_predicted: Of the predicted class.
    """

    name: str
    split: str
    row: int
    label: str
    predicted: str
    p_label: float
    p_predicted: float


@dataclass(frozen=True)
class WrongLabels:
    """How many labels are wrong, about.

    Args:
        count: The estimate.
        low: Lower bound of the 95 % interval.
        high: Upper bound.
        judged: Images that the heads were surest of, by which it was estimated.
        disagreeing: How many of these have another label than predicted.
    """

    count: int
    low: int
    high: int
    judged: int
    disagreeing: int


@dataclass(frozen=True)
class LabelStudy:
    """What cross-fitted heads find in the labels of n images.

    Args:
        n: Images.
        agreeing: Images whose label is the predicted class.
        wrong: How many labels are wrong, about; None where there are too few images.
        suspects: Images whose label is not the predicted class, the least probable label first.
    """

    n: int
    agreeing: int
    wrong: WrongLabels | None
    suspects: Sequence[Suspect]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def study_labels(features: Features, *, folds: int = FOLDS, seed: int = 0) -> LabelStudy:
    """Judge each label by heads that have not seen its image.

    Args:
        features: Of all images whose labels are to be judged.
        folds: See `crossfit`.
        seed: See `crossfit`.

    Raises:
        InputError: If a class has too few images.
    """
    probabilities = crossfit(
        features.vectors, features.labels, features.groups, features.class_names, folds=folds, seed=seed
    )
    predicted = probabilities.argmax(1)
    disagrees = predicted != features.labels
    of_label = probabilities[np.arange(len(features)), features.labels]
    names, classes = features.names, features.class_names
    order = sorted(np.flatnonzero(disagrees), key=lambda row: (of_label[row], row))
    suspects = [
        Suspect(
            name=names[row],
            split=str(features.splits[row]),
            row=int(features.rows[row]),
            label=classes[features.labels[row]],
            predicted=classes[predicted[row]],
            p_label=float(of_label[row]),
            p_predicted=float(probabilities[row].max()),
        )
        for row in order
    ]
    wrong = estimate_wrong(probabilities, features.labels)
    return LabelStudy(len(features), int((~disagrees).sum()), wrong, suspects)


def estimate_wrong(probabilities: Float64Array, labels: Int64Array) -> WrongLabels | None:
    """Estimate how many labels are wrong, from the images that the heads are surest of.

    The surest quarter is judged, and the next ones as long as their share of disagreements is not higher (Fisher's
    exact test, one-sided, p above 0.1), three at most. The others have the same share, with its own uncertainty:
    Jeffreys' prior and a beta-binomial count of the unseen.

    Args:
        probabilities: Cross-fitted, (n, K).
        labels: Class indices as annotated, (n,).

    Returns:
        None below 80 images.
    """
    n = len(labels)
    if n // QUARTERS < LEAST_SUREST:
        return None
    order = np.argsort(-probabilities.max(1), kind="stable")
    disagrees = (probabilities.argmax(1) != labels)[order]
    judged = _judged(disagrees)
    seen = int(disagrees[:judged].sum())
    unseen = betabinom(n - judged, seen + 0.5, judged - seen + 0.5)
    low, high = seen + floor(unseen.ppf(0.025)), seen + ceil(unseen.ppf(0.975))
    return WrongLabels(round(seen * n / judged), low, high, judged, seen)


def _judged(disagrees: npt.NDArray[np.bool_]) -> int:
    """How many of the images, the surest first, are judged."""
    ends = [len(disagrees) * quarter // QUARTERS for quarter in range(1, QUARTERS)]
    judged = ends[0]
    for end in ends[1:]:
        surer, others = disagrees[:judged], disagrees[judged:end]
        table = [[others.sum(), (~others).sum()], [surer.sum(), (~surer).sum()]]
        if fisher_exact(table, alternative="greater").pvalue < DIFFERENT:
            break
        judged = end
    return judged
