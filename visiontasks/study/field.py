"""How photographs from where a network is used differ from its validation images, and what accuracy to expect there.

Without labels, three numbers change as accuracy falls: the mean confidence (Guillory et al., "Predicting with
Confidence on Unseen Distributions", 2021), the mean distance of features to the nearest training image (Sun et al.,
"Out-of-Distribution Detection with Deep Nearest Neighbors", 2022), and the share of images that two classifiers agree
on (Jiang et al., "Assessing Generalization of SGD via Disagreement", 2022; here the head and the vote of the 7 nearest
training images). How accuracy falls with them is fitted on validation images that were made worse on purpose (as Deng
and Zheng, "Are Labels Always Necessary for Classifier Accuracy Evaluation?", 2021, do with the distance of
distributions), with weights of 0 or more, and the interval is from kinds of corruption that were left out of the fit in
turn. The threshold of Garg et al., "Leveraging Unlabeled Data to Predict Out-of-Distribution Performance", 2022, was
tried, and says no more than the confidence.

Whether the photographs differ at all is tested by the two-sample test of Kolmogorov and Smirnov on each measure, and by
permutations for the predicted classes; Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979, keeps the
probability of any false alarm below 5 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.ops.metrics import holm, wilson_interval
from visiontasks.outputs.base import Float32Array
from visiontasks.study.altered import WAYS
from visiontasks.study.crossfit import Float64Array
from visiontasks.study.similar import nearest

LEAST_VAL, LEAST_FIELD = 30, 10
LEVEL = 0.05
VOTERS = 7
"""Nearest training images."""
PERMUTATIONS = 2000
_Z = 1.96
_LEAST_DROP = 0.02
"""Of the accuracy: the uncertainty of a forecast is a share of its fall and of this."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says of n images.

    Args:
        probabilities: (n, K).
        distances: 1 - cosine of features to those of the nearest training image, (n,).
        agrees: Whether the most probable class is that of most of the nearest training images, (n,).
    """

    probabilities: Float32Array
    distances: Float32Array
    agrees: npt.NDArray[np.bool_]

    def means(self) -> Float64Array:
        """Confidence, share that agrees, distance: their means, (3,)."""
        return np.array([self.probabilities.max(1).mean(), self.agrees.mean(), self.distances.mean()], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Seen:
    """Images as a network and as a photographer sees them.

    Args:
        answers: The network's, of n images.
        measures: Numbers of each image by name, such as sharpness; of these or some of these.
    """

    answers: Answers
    measures: Mapping[str, Float32Array]

    def numbers(self) -> dict[str, Float32Array]:
        """The measures, and those of the network."""
        answers = self.answers
        return {
            **self.measures,
            "confidence": answers.probabilities.max(1),
            "distance to training images": answers.distances,
        }


@dataclass(frozen=True)
class Difference:
    """One measure of the photographs and of the validation images.

    Args:
        name: Of the measure.
        clean: Median of the validation images.
        field: Median of the photographs.
        higher: Probability that a photograph has more of it than a validation image, 0 to 1; half where nothing
            differs (Mann and Whitney).
        low: Lower bound of its 95 % interval (Hanley and McNeil, 1982).
        high: Upper bound.
        p: Of the test, times what Holm's procedure asks for.
    """

    name: str
    clean: float
    field: float
    higher: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class ClassShare:
    """How often a class is predicted.

    Args:
        name: Of the class.
        clean: Share of the validation images.
        field: Share of the photographs.
        low: Lower bound of the 95 % interval of `field`.
        high: Upper bound.
    """

    name: str
    clean: float
    field: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """The accuracy to expect.

    Args:
        accuracy: The forecast.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        error: Mean error of such forecasts on validation images made worse in ways left out of the fit, 0 to 1.
        ways: How many ways there were.
    """

    accuracy: float
    low: float
    high: float
    error: float
    ways: int


@dataclass(frozen=True)
class FieldStudy:
    """Photographs against validation images.

    Args:
        n: Photographs that could be read.
        compared: Validation images.
        accuracy: Of the validation images.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        forecast: For the photographs.
        differences: The surest first.
        shares: Of the predicted classes.
        p_classes: Of the test of these, as `Difference.p`.
        errors: Why files could not be read.
    """

    n: int
    compared: int
    accuracy: float
    low: float
    high: float
    forecast: Forecast
    differences: Sequence[Difference]
    shares: Sequence[ClassShare]
    p_classes: float
    errors: Mapping[str, str]

    @property
    def differs(self) -> bool:
        """Whether any measure differs by more than chance."""
        return min([self.p_classes, *(each.p for each in self.differences)]) < LEVEL

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "differs": self.differs}


@dataclass(frozen=True, eq=False)
class Calibration:
    """How accuracy falls with what can be seen without labels.

    Args:
        usual: Confidence, share that agrees and distance of the validation images, see `Answers.means`.
        weights: Of how far each is off, (3,).
        spread: Uncertainty of a forecast, as a share of its fall and `_LEAST_DROP`.
        error: Mean error on ways that were left out of the fit.
        ways: How many ways.
    """

    usual: Float64Array
    weights: Float64Array
    spread: float
    error: float
    ways: int

    def forecast(self, answers: Answers, accuracy: float, n: int) -> Forecast:
        """Forecast the accuracy on images without labels.

        Args:
            answers: Of the images, m of them.
            accuracy: Of the validation images.
            n: How many these are.
        """
        fall = float(_falls(self.usual, answers) @ self.weights)
        expected = min(1.0, max(0.0, accuracy - fall))
        m, inside = len(answers.distances), min(max(expected, 0.5 / n), 1 - 0.5 / n)
        variance = accuracy * (1 - accuracy) / n + inside * (1 - inside) / m
        half = _Z * sqrt(variance + (self.spread * (max(fall, 0.0) + _LEAST_DROP)) ** 2)
        return Forecast(expected, max(0.0, expected - half), min(1.0, expected + half), self.error, self.ways)


def answers_of(
    probabilities: Float32Array, vectors: Float32Array, train_vectors: Float32Array, train_labels: Int64Array
) -> Answers:
    """Compare what a network predicts with the nearest training images.

    Args:
        probabilities: (n, K).
        vectors: Features, (n, D).
        train_vectors: (m, D).
        train_labels: Class indices, (m,).
    """
    rows, distances = nearest(vectors, train_vectors, VOTERS)
    votes = np.zeros(probabilities.shape, dtype=np.int64)
    for column in range(rows.shape[1]):
        votes[np.arange(len(rows)), train_labels[rows[:, column]]] += 1
    return Answers(probabilities, distances[:, 0], np.asarray(votes.argmax(1) == probabilities.argmax(1)))


def calibrate(clean: Answers, worse: Sequence[Answers], labels: Int64Array, kinds: Sequence[str] = ()) -> Calibration:
    """Fit how accuracy falls.

    Args:
        clean: Of labelled images that the network was not trained on, n of them.
        worse: Of the same images, made worse in several ways.
        labels: Of the images, (n,).
        kinds: Of each way, of which all are left out together; by default those of `WAYS`.
    """
    from scipy.optimize import nnls

    kinds, usual = kinds or [kind for kind, _ in WAYS], clean.means()
    accuracy, *others = (float((each.probabilities.argmax(1) == labels).mean()) for each in (clean, *worse))
    falls, truth = np.array([_falls(usual, each) for each in worse]), accuracy - np.array(others)
    predicted = np.zeros(len(truth))
    for kind in set(kinds):
        out = np.array([each == kind for each in kinds])
        predicted[out] = np.clip(falls[out] @ nnls(falls[~out], truth[~out])[0], 0, accuracy)
    off = np.abs(predicted - truth)
    reached = np.clip(others, 0.5 / len(labels), 1 - 0.5 / len(labels))
    excess = np.maximum((off / _Z) ** 2 - reached * (1 - reached) / len(labels), 0)
    spread = float(np.quantile(np.sqrt(excess) / (predicted + _LEAST_DROP), 0.95, method="higher"))
    return Calibration(usual, nnls(falls, truth)[0], spread, float(off.mean()), len(truth))


def study_field(
    clean: Seen,
    labels: Int64Array,
    calibration: Calibration,
    field: Seen,
    class_names: Sequence[str],
    *,
    errors: Mapping[str, str] | None = None,
    seed: int = 0,
) -> FieldStudy:
    """Compare photographs with validation images, and forecast the accuracy on them.

    Args:
        clean: The validation images.
        labels: Theirs, (n,).
        calibration: Of these images.
        field: The photographs; measures that only one of the two has are left out.
        class_names: By class index.
        errors: Why other files could not be read.
        seed: Of the permutations.

    Raises:
        InputError: If there are too few images for a test.
    """
    n, compared = len(field.answers.distances), len(labels)
    for what, count, least in (("validation images", compared, LEAST_VAL), ("photographs", n, LEAST_FIELD)):
        if count < least:
            raise InputError(f"a comparison needs {least} {what}, got {count}: add images")
    known, found = clean.numbers(), field.numbers()
    names = [name for name in known if name in found]
    tested = [_test(known[name], found[name]) for name in names]
    classes = clean.answers.probabilities.argmax(1), field.answers.probabilities.argmax(1)
    p_classes = _permuted(*classes, len(class_names), seed)
    *adjusted, p_classes = holm([*tested, p_classes])
    differences = [_difference(name, known[name], found[name], p) for name, p in zip(names, adjusted, strict=True)]
    right = int((classes[0] == labels).sum())
    return FieldStudy(
        n,
        compared,
        right / compared,
        *wilson_interval(right, compared),
        calibration.forecast(field.answers, right / compared, compared),
        sorted(differences, key=lambda each: (each.p, -abs(each.higher - 0.5))),
        _shares(*classes, class_names),
        p_classes,
        errors or {},
    )


def _falls(usual: Float64Array, answers: Answers) -> Float64Array:
    """How much lower confidence and agreement are, and how much larger the distance, as a share of the usual one."""
    confidence, agreement, distance = answers.means()
    return np.array([usual[0] - confidence, usual[1] - agreement, distance / max(usual[2], 1e-6) - 1])


def _test(clean: Float32Array, field: Float32Array) -> float:
    from scipy.stats import ks_2samp

    return float(ks_2samp(clean, field).pvalue)


def _difference(name: str, clean: Float32Array, field: Float32Array, p: float) -> Difference:
    from scipy.stats import mannwhitneyu

    m, n = len(field), len(clean)
    higher = float(mannwhitneyu(field, clean).statistic) / (m * n)
    first, second = higher / (2 - higher), 2 * higher**2 / (1 + higher)
    variance = higher * (1 - higher) + (m - 1) * (first - higher**2) + (n - 1) * (second - higher**2)
    half = _Z * sqrt(max(variance, 0.25) / (m * n))
    medians = float(np.median(clean)), float(np.median(field))
    return Difference(name, *medians, higher, max(0.0, higher - half), min(1.0, higher + half), p)


def _permuted(clean: Int64Array, field: Int64Array, num_classes: int, seed: int) -> float:
    """p of the chi-squared statistic of two lists of classes, by permutations of the images."""
    both, draw = np.concatenate([clean, field]), np.random.default_rng(seed)
    totals = np.bincount(both, minlength=num_classes).astype(np.float64)
    expected = np.maximum(totals * len(field) / len(both), 1e-12)
    # of two rows the statistic rises with the sum for one of them, whatever the order
    counts = draw.multivariate_hypergeometric(totals.astype(np.int64), len(field), size=PERMUTATIONS)
    statistics = ((counts - expected) ** 2 / expected).sum(1)
    own = ((np.bincount(field, minlength=num_classes) - expected) ** 2 / expected).sum()
    return float((1 + (statistics >= own - 1e-9).sum()) / (1 + PERMUTATIONS))


def _shares(clean: Int64Array, field: Int64Array, class_names: Sequence[str]) -> list[ClassShare]:
    known, found = (np.bincount(each, minlength=len(class_names)).tolist() for each in (clean, field))
    return [
        ClassShare(name, known[i] / len(clean), found[i] / len(field), *wilson_interval(found[i], len(field)))
        for i, name in enumerate(class_names)
    ]
