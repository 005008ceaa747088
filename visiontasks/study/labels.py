"""Which labels are probably wrong, ranked, and about how many there are.

Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021, rank labels by the cross-fitted
probability of the label, as here. Their count takes every confident disagreement for a wrong label, also where the
heads are often mistaken. Here the disagreements are explained by three numbers at once: a temperature, by which the
heads' probabilities come true (Guo et al., "On Calibration of Modern Neural Networks", 2017), how much it varies among
the images, and a share of labels that were replaced by any other class (Natarajan et al., "Learning with Noisy Labels",
2013). All are weighed by how probable they make the labels, so that weak heads give a wide interval. Images that are
easily confused and were confused by whoever labelled them count as the heads' uncertainty: where most mistakes are
such, the count is too low.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.study.crossfit import FOLDS, LEAST_PROBABILITY, Float64Array, crossfit, softmax
from visiontasks.study.features import Features

SHARES = np.linspace(0, 0.5**0.5, 121) ** 2
"""Of wrong labels; even in the square root, as Jeffreys' prior is for small ones."""
LOG_FACTORS = np.linspace(-3.5, 3.5, 91)
"""By which logits are multiplied, which is the inverse of a temperature."""
FARTHEST = 2.1
"""Mean of an image's log factor; the others only serve its spread."""
SPREADS = (0.0, 0.2, 0.4, 0.6)
"""Standard deviation of the images' log factors."""
USUAL_SPREAD = 0.25
"""Scale of its half-normal prior."""
MOST_WEIGHED = 4000
"""Images that weigh these numbers at most; the others follow."""
DRAWS = 1000


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
    """

    count: int
    low: int
    high: int


@dataclass(frozen=True)
class LabelStudy:
    """What cross-fitted heads find in the labels of n images.

    Args:
        n: Images.
        agreeing: Images whose label is the predicted class.
        wrong: How many labels are wrong, about.
        suspects: Images whose label is not the predicted class, the least probable label first.
    """

    n: int
    agreeing: int
    wrong: WrongLabels
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


def estimate_wrong(probabilities: Float64Array, labels: Int64Array) -> WrongLabels:
    """Estimate how many labels are wrong: more disagree than the heads' own mistakes explain.

    Args:
        probabilities: Cross-fitted on the labels, (n, K).
        labels: Class indices as annotated, (n,).

    Returns:
        Median and 95 % interval; at most half of the labels can be wrong.
    """
    others, n = max(probabilities.shape[1] - 1, 1), len(labels)
    logits = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    right = np.stack([softmax(factor * logits)[np.arange(n), labels] for factor in np.exp(LOG_FACTORS)])
    blur, prior = _blur()
    draw = np.random.default_rng(0)
    some = draw.permutation(n)[:MOST_WEIGHED]
    blurred = blur @ right[:, some]
    weight = np.stack([prior + np.log(np.add(*_ways(share, blurred, others))).sum(1) for share in SHARES])
    weight = np.exp(weight - weight.max())
    counts = []
    for cell in draw.choice(weight.size, DRAWS, p=weight.ravel() / weight.sum()):
        share, row = divmod(int(cell), len(blur))
        own, replaced = _ways(SHARES[share], blur[row] @ right, others)
        counts.append(int((draw.random(n) * (own + replaced) < replaced).sum()))
    low, middle, high = np.quantile(counts, (0.025, 0.5, 0.975), method="nearest")
    return WrongLabels(int(middle), int(low), int(high))


def _blur() -> tuple[Float64Array, Float64Array]:
    """Weights of log factors for each mean and spread, (rows, factors), and the log of its prior, (rows,)."""
    means = LOG_FACTORS[np.abs(LOG_FACTORS) <= FARTHEST]
    rows = []
    for spread in SPREADS:
        away = (LOG_FACTORS - means[:, None]) / max(spread, 1e-3)
        near = np.exp(-(away**2) / 2)
        rows.append(near / near.sum(1, keepdims=True))
    return np.concatenate(rows), np.repeat(-((np.array(SPREADS) / USUAL_SPREAD) ** 2) / 2, len(means))


def _ways(share: float, right: Float64Array, others: int) -> tuple[Float64Array, Float64Array]:
    """Probability that an image has its label without being relabelled, and that it has it by being relabelled."""
    return (1 - share) * right + np.finfo(np.float64).tiny, share * (1 - right) / others
