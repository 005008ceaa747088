"""Classes that are added to a trained classification: rows of its linear head stay by name, new ones are fitted.

The backbone stays as it is, so that images are features that are there already, as Rebuffi et al., "iCaRL: Incremental
Classifier and Representation Learning", 2017, keep examples of old classes; here all training images of these. The head
is a multinomial logistic regression whose penalty is on the distance from the old rows instead of from zero (Evgeniou
and Pontil, "Regularized Multi-Task Learning", 2004), and its strength is what validation images choose.

Whether an old class is predicted worse than before by more than chance is McNemar's exact test on its validation
images, one-sided, with Holm's correction for the number of classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.ops.metrics import holm, wilson_interval
from visiontasks.outputs.base import Float32Array
from visiontasks.study.crossfit import STRENGTHS, Float64Array, log_loss, softmax

HOLDS = (1.0, 100.0)
"""Times as strongly as new rows are held at zero, old rows are held where they were."""
LEVEL = 0.05
MOST_STEPS = 500


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear head.

    Args:
        weight: (K, D).
        bias: (K,).
    """

    weight: Float64Array
    bias: Float64Array

    def logits(self, vectors: Float32Array) -> Float64Array:
        """Of features (n, D): (n, K)."""
        return np.asarray(vectors @ self.weight.T + self.bias, dtype=np.float64)

    def predicted(self, vectors: Float32Array) -> Int64Array:
        """The class of the highest logit, (n,)."""
        return np.asarray(self.logits(vectors).argmax(1), dtype=np.int64)


@dataclass(frozen=True)
class ExtendedClass:
    """A class on the validation images.

    Args:
        name: Of the class.
        is_new: Whether it was added.
        n: Its images.
        before: How many of them the old head has right; 0 of a new class.
        after: How many the new head has right.
        low: Lower bound of the 95 % interval of the share that it has right.
        high: Upper bound.
        p: That so many are lost by chance; 1 of a new class.
    """

    name: str
    is_new: bool
    n: int
    before: int
    after: int
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class ExtendStudy:
    """Old and new classes on the validation images.

    Args:
        classes: All, in the order of the head.
        n: Images.
        right: How many the new head has right.
        low: Lower bound of the 95 % interval of the accuracy.
        high: Upper bound.
        trained: Training images.
    """

    classes: Sequence[ExtendedClass]
    n: int
    right: int
    low: float
    high: float
    trained: int

    @property
    def fallen(self) -> list[str]:
        """Old classes that are predicted worse by more than chance."""
        return [each.name for each in self.classes if each.p < LEVEL]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "fallen": self.fallen}


def extend_head(
    old: Linear,
    vectors: Float32Array,
    labels: Int64Array,
    val_vectors: Float32Array,
    val_labels: Int64Array,
    *,
    added: int,
) -> Linear:
    """Fit a head for old and new classes.

    Args:
        old: The trained head, whose K rows come first.
        vectors: Features of training images of all classes, (n, D).
        labels: Theirs; new classes from K on.
        val_vectors: Of validation images of all classes, which choose the strength.
        val_labels: Theirs.
        added: How many classes are new.

    Returns:
        The head, K + added rows.
    """
    mean, scale = vectors.mean(0), vectors.std(0)
    scale[scale == 0] = 1
    zeros = np.zeros((added, vectors.shape[1]))
    start = Linear(
        np.concatenate([old.weight * scale, zeros]), np.concatenate([old.bias + old.weight @ mean, np.zeros(added)])
    )
    scaled, judged = ((each - mean) / scale for each in (vectors, val_vectors))
    best, least = start, np.inf
    for strength in STRENGTHS:
        for hold in HOLDS:
            penalty = strength * np.where(np.arange(len(start.bias)) < len(old.bias), hold, 1.0)
            fitted = _fitted(start, scaled, labels, penalty[:, None])
            loss = log_loss(softmax(fitted.logits(judged)), val_labels)
            if loss < least:
                best, least = fitted, loss
    weight = best.weight / scale
    return Linear(weight, best.bias - weight @ mean)


def study_extended(
    old: Linear,
    new: Linear,
    vectors: Float32Array,
    labels: Int64Array,
    class_names: Sequence[str],
    *,
    trained: int = 0,
) -> ExtendStudy:
    """Compare old and new head.

    Args:
        old: K rows.
        new: More rows.
        vectors: Features of validation images of all classes, (n, D).
        labels: Theirs.
        class_names: Of the new head, by index.
        trained: Training images.
    """
    before, after = (head.predicted(vectors) == labels for head in (old, new))
    olds = range(len(old.bias))
    ps = holm([_fall_by_chance(before[labels == label], after[labels == label]) for label in olds])
    classes = []
    for label, name in enumerate(class_names):
        own = labels == label
        n, right = int(own.sum()), int(after[own].sum())
        is_new = label >= len(old.bias)
        interval = wilson_interval(right, n) if n else (0.0, 1.0)
        classes.append(
            ExtendedClass(
                name, is_new, n, 0 if is_new else int(before[own].sum()), right, *interval, 1.0 if is_new else ps[label]
            )
        )
    right = int(after.sum())
    return ExtendStudy(classes, len(labels), right, *wilson_interval(right, len(labels)), trained)


def _fitted(start: Linear, vectors: Float32Array, labels: Int64Array, penalty: Float64Array) -> Linear:
    """The least of the mean log loss and half of the penalty times the squared distance of the rows from the start."""
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    num_classes, n = len(start.bias), len(labels)
    truth = np.zeros((n, num_classes))
    truth[np.arange(n), labels] = 1
    first = np.concatenate([start.weight, start.bias[:, None]], axis=1)

    def loss(flat: Float64Array) -> tuple[float, Float64Array]:
        rows = flat.reshape(first.shape)
        weight, bias = rows[:, :-1], rows[:, -1]
        probabilities = softmax(vectors @ weight.T + bias)
        off = weight - start.weight
        value = log_loss(probabilities, labels) + 0.5 * float((penalty * off**2).sum())
        residual = (probabilities - truth) / n
        gradient = np.concatenate([residual.T @ vectors + penalty * off, residual.sum(0)[:, None]], axis=1)
        return value, gradient.ravel()

    with threadpool_limits(1):
        found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS})
    rows = found.x.reshape(first.shape)
    return Linear(rows[:, :-1], rows[:, -1])


def _fall_by_chance(before: np.ndarray[Any, np.dtype[np.bool_]], after: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    from scipy.stats import binom

    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    return float(binom.sf(lost - 1, lost + gained, 0.5)) if lost else 1.0
