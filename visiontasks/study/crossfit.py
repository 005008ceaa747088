"""Cross-fitted linear heads: each image is judged by a head that has seen neither it nor its near duplicates.

A head is a multinomial logistic regression on standardized features. How strongly it is regularized is chosen inside of
the images that it is fitted on, by the log loss of folds of these.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.outputs.base import Float32Array

FOLDS, INNER_FOLDS = 5, 3
STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3)
"""Of the regularization: half of it times the mean square of the weights' norm is added to the mean log loss."""
MOST_CHOSEN_BY = 4000
"""Images that the strength is chosen on at most."""
TOLERANCE = 1e-6
MOST_STEPS = 1000
LEAST_PROBABILITY = 1e-12
LARGE = 10_000_000
"""Values of a matrix from which on several threads share its products."""

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A fitted head.

    Args:
        mean: Of each feature, (D,).
        scale: Their standard deviation, 1 for a constant one, (D,).
        weight: (K, D).
        bias: (K,).
        strength: Of the regularization.
    """

    mean: Float32Array
    scale: Float32Array
    weight: Float64Array
    bias: Float64Array
    strength: float

    def logits(self, vectors: Float32Array) -> Float64Array:
        """Of images by their features (n, D): (n, K)."""
        scaled = (vectors - self.mean) / self.scale
        return np.asarray(scaled @ self.weight.T + self.bias, dtype=np.float64)

    def probabilities(self, vectors: Float32Array) -> Float64Array:
        """Of each class, (n, K)."""
        return softmax(self.logits(vectors))


def crossfit(
    vectors: Float32Array,
    labels: Int64Array,
    groups: Int64Array,
    class_names: Sequence[str],
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> Float64Array:
    """Probabilities of each class for each image, by heads that have not seen it or its group.

    Args:
        vectors: Features, (n, D).
        labels: Class indices, (n,).
        groups: Equal for images that stay together, (n,).
        class_names: By class index, K of them.
        folds: Into how many parts the images are divided; each part is judged by a head that is fitted on the others.
        seed: Of the division.

    Returns:
        (n, K); each row sums to 1.

    Raises:
        InputError: If a class has fewer groups than folds.
    """
    fold = grouped_folds(labels, groups, class_names, folds=folds, seed=seed)
    found = np.zeros((len(labels), len(class_names)))
    for held_out in range(folds):
        inside, outside = fold != held_out, fold == held_out
        head = fit_head(vectors[inside], labels[inside], groups[inside], len(class_names), seed=seed)
        found[outside] = head.probabilities(vectors[outside])
    return found


def grouped_folds(
    labels: Int64Array,
    groups: Int64Array,
    class_names: Sequence[str],
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> Int64Array:
    """Divide images into folds that are alike in their classes and never divide a group.

    Args:
        labels: Class indices, (n,).
        groups: Equal for images that stay together, (n,).
        class_names: By class index.
        folds: How many.
        seed: Decides which image is in which fold.

    Returns:
        The fold of each image, (n,).

    Raises:
        InputError: If a class has fewer groups than folds, so that a fold would not have it.
    """
    counts = [len(np.unique(groups[labels == label])) for label in range(len(class_names))]
    few = [f"{name} ({count})" for name, count in zip(class_names, counts, strict=True) if count < folds]
    if few:
        raise InputError(
            f"a study with {folds} folds needs {folds} images of each class, near duplicates counted once; too few of "
            f"{listed(few)}: add images, or remove the class"
        )
    return _folds(labels, groups, folds, seed)


def fit_head(
    vectors: Float32Array, labels: Int64Array, groups: Int64Array, num_classes: int, *, seed: int = 0
) -> LinearHead:
    """Fit a head, with the strength that is best on folds of these images.

    Args:
        vectors: Features, (n, D).
        labels: Class indices, (n,); a class that is not among them gets a probability near 0.
        groups: Equal for images that stay together, (n,).
        num_classes: K.
        seed: Decides the folds, and which images the strength is chosen by.
    """
    from threadpoolctl import threadpool_limits

    # threads wait for each other at each small product, and beside other work that takes longer than the product
    with threadpool_limits(1 if vectors.size < LARGE else None):
        return _Fit(vectors, labels, num_classes).head(_strength(vectors, labels, groups, num_classes, seed))


def refit_head(vectors: Float32Array, labels: Int64Array, num_classes: int, strength: float) -> LinearHead:
    """Fit a head with a strength that is known already, see `fit_head`."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if vectors.size < LARGE else None):
        return _Fit(vectors, labels, num_classes).head(strength)


def softmax(logits: Float64Array) -> Float64Array:
    """Probabilities of rows of logits, (n, K)."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True), dtype=np.float64)


def log_loss(probabilities: Float64Array, labels: Int64Array) -> float:
    """Mean negative log probability of the labels, (n, K) and (n,)."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, LEAST_PROBABILITY)).mean())


def _strength(vectors: Float32Array, labels: Int64Array, groups: Int64Array, num_classes: int, seed: int) -> float:
    if len(labels) > MOST_CHOSEN_BY:
        some = np.sort(np.random.default_rng(seed).choice(len(labels), MOST_CHOSEN_BY, replace=False))
        vectors, labels, groups = vectors[some], labels[some], groups[some]
    folds = min(INNER_FOLDS, int(np.bincount(labels).max()), len(np.unique(groups)))
    if folds < 2:
        return STRENGTHS[0]
    fold = _folds(labels, groups, folds, seed)
    sides = [(fold != held_out, fold == held_out) for held_out in range(folds)]
    sides = [(inside, outside) for inside, outside in sides if inside.any() and outside.any()]
    fits = [_Fit(vectors[inside], labels[inside], num_classes) for inside, _ in sides]
    least = np.inf
    for i, strength in enumerate(STRENGTHS):
        loss = 0.0
        for fit, (_, outside) in zip(fits, sides, strict=True):
            probabilities = fit.head(strength).probabilities(vectors[outside])
            loss += log_loss(probabilities, labels[outside]) * outside.sum()
        if loss >= least:  # weaker ones overfit more
            return STRENGTHS[i - 1]
        least = loss
    return STRENGTHS[-1]


class _Fit:
    """Fits heads of several strengths to the same images; each fit starts from the one before."""

    def __init__(self, vectors: Float32Array, labels: Int64Array, num_classes: int) -> None:
        from sklearn.linear_model import LogisticRegression  # takes a second to import

        self.mean, self.scale = vectors.mean(0), vectors.std(0)
        self.scale[self.scale == 0] = 1
        self.labels, self.num_classes = labels, num_classes
        scaled = (vectors - self.mean) / self.scale
        # with more features than images, in the space that the images span: the same weights, sooner
        self.basis = np.linalg.qr(scaled.T)[0] if len(labels) < vectors.shape[1] else None
        self.places = scaled if self.basis is None else scaled @ self.basis
        self.model: Any = LogisticRegression(tol=TOLERANCE, max_iter=MOST_STEPS, warm_start=True)

    def head(self, strength: float) -> LinearHead:
        """Fit one."""
        present = np.unique(self.labels)
        weight = np.zeros((self.num_classes, len(self.mean)))
        bias = np.full(self.num_classes, np.log(LEAST_PROBABILITY))
        if len(present) == 1:
            bias[present] = 0
            return LinearHead(self.mean, self.scale, weight, bias, strength)
        self.model.C = 1 / (strength * len(self.labels))
        self.model.fit(self.places, self.labels)
        rows, offsets = self.model.coef_, self.model.intercept_
        if len(present) == 2:  # one row of weights for two classes
            rows, offsets = np.stack([-rows[0], rows[0]]) / 2, np.stack([-offsets[0], offsets[0]]) / 2
        weight[present] = rows if self.basis is None else rows @ self.basis.T
        bias[present] = offsets
        return LinearHead(self.mean, self.scale, weight, bias, strength)


def _folds(labels: Int64Array, groups: Int64Array, folds: int, seed: int) -> Int64Array:
    from sklearn.model_selection import StratifiedGroupKFold

    found = np.zeros(len(labels), dtype=np.int64)
    divider = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # which `grouped_folds` checks
        for number, (_, outside) in enumerate(divider.split(labels, labels, groups)):
            found[outside] = number
    return found
