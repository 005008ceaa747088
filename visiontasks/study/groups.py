"""What a random split claims where images belong together, and what one says that divides no group.

A head that has seen other frames of a film recognizes the film. Both claims are cross-fitted on the same images, so
that they differ only in whether an image's own group may be among those that its head was fitted on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.ops.metrics import wilson_interval
from visiontasks.study.crossfit import FOLDS, crossfit
from visiontasks.study.features import Features

RESAMPLES = 2000
KEY = "data.init_args.groups"


@dataclass(frozen=True)
class Share:
    """A share of images that was judged right.

    Args:
        value: In [0, 1].
        low: Lower bound of the 95 % interval.
        high: Upper bound.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupStudy:
    """The claims for one way to group the images.

    Args:
        groups: The value of `data.init_args.groups`.
        n: Images.
        number: Groups.
        smallest: Images of the smallest group.
        largest: Of the largest.
        random: Right by heads that may have seen others of the group; the interval is the usual one, which takes the
            images to be independent.
        whole: Right by heads that have not; the interval is that of whole groups drawn again.
        claimed: How much more the random split claims, by the same draws.
    """

    groups: str
    n: int
    number: int
    smallest: int
    largest: int
    random: Share
    whole: Share
    claimed: Share

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def study_groups(
    features: Features, numbers: Int64Array, groups: str, *, folds: int = FOLDS, seed: int = 0
) -> GroupStudy:
    """Compare folds of single images with folds of whole groups.

    Args:
        features: Of the images.
        numbers: The group of each, (n,).
        groups: What the groups are called, the value of `data.init_args.groups`.
        folds: Of cross-fitting.
        seed: Of the folds and of the bootstrap.

    Raises:
        InputError: If a class has fewer groups than folds.
    """
    _check_number(features, numbers, groups, folds)
    single = np.arange(len(features))
    right = [_right(features, each, folds, seed) for each in (single, numbers)]
    sums = [np.bincount(numbers, each) for each in right]
    sizes = np.bincount(numbers)
    drawn = np.random.default_rng(seed).multinomial(
        len(sizes), np.full(len(sizes), 1 / len(sizes)), size=RESAMPLES
    )  # how often each group is drawn
    shares = [drawn @ each / (drawn @ sizes) for each in sums]
    accuracy = [float(each.mean()) for each in right]
    return GroupStudy(
        groups,
        len(features),
        len(sizes),
        int(sizes.min()),
        int(sizes.max()),
        Share(accuracy[0], *wilson_interval(int(right[0].sum()), len(features))),
        Share(accuracy[1], *_bounds(shares[1])),
        Share(accuracy[0] - accuracy[1], *_bounds(shares[0] - shares[1])),
    )


def _right(features: Features, numbers: Int64Array, folds: int, seed: int) -> npt.NDArray[np.bool_]:
    judged = crossfit(features.vectors, features.labels, numbers, features.class_names, folds=folds, seed=seed)
    return np.asarray(judged.argmax(1) == features.labels)


def _bounds(draws: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def _check_number(features: Features, numbers: Int64Array, groups: str, folds: int) -> None:
    counts = [len(np.unique(numbers[features.labels == label])) for label in range(len(features.class_names))]
    few: Sequence[str] = [
        f"{name} ({count})" for name, count in zip(features.class_names, counts, strict=True) if count < folds
    ]
    if few:
        raise InputError(
            f"{KEY}: {groups}: a study with {folds} folds needs {folds} groups of each class, too few of "
            f"{listed(list(few))}: add images, name smaller groups, or give --folds"
        )
