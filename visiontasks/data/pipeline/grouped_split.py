"""Divides images so that no group is in two parts, and each part has its share of each class.

Groups are taken in random order, larger ones first, each to the part where it adds least to the chi-square distance
between the images of each class that the parts have and should have. For a single class that is Webster's rule, so that
each part gets groups of all sizes. Sizes are compared by powers of two: an order by size alone would leave a seed
nothing to decide.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.units import counted

ATTEMPTS = 20
"""Orders that are tried until each part has what it needs."""
_ALL = 0
"""The class that every image has."""


@dataclass(frozen=True)
class Fold:
    """A part of a dataset that is held out for testing, of several.

    Args:
        number: Which, from 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def parsed(cls, text: str) -> "Fold":
        """From `2/5`.

        Raises:
            InputError: If it is no such text.
        """
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        fold = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= fold.number <= fold.of or fold.of < 2:
            raise InputError(f"data.init_args.fold: {text!r}, expected a number of a fold and how many there are: 2/5")
        return fold


def divide_groups(
    classes: Sequence[frozenset[str]],
    groups: Int64Array,
    shares: Sequence[float],
    *,
    seed: int,
    everywhere: bool,
    names: str,
) -> list[Int64Array]:
    """Divide images, a pure function of classes, groups and seed; what groups are called does not matter.

    Args:
        classes: Those of each image, (n,); empty for an image without an object.
        groups: Equal for images that stay together, numbered as they appear, (n,).
        shares: That of each part, 1 together.
        seed: Of the order.
        everywhere: Whether each part needs each class; else the first part does, and no part is empty.
        names: Of the parts, for a message.

    Returns:
        Rows of each part, ascending.

    Raises:
        InputError: If there are too few groups, with their numbers.
    """
    known = sorted({name for each in classes for name in each or ("",)})
    index = {name: at for at, name in enumerate(known, start=1)}
    counts = [Counter[int]() for _ in range(int(groups.max()) + 1)]
    for each, group in zip(classes, groups.tolist(), strict=True):
        counts[group].update((_ALL, *(index[name] for name in each or ("",))))
    units = [(np.array(sorted(each)), np.array([each[of] for of in sorted(each)], dtype=float)) for each in counts]
    every, images = (np.concatenate(column) for column in zip(*units, strict=True))
    held, total = np.bincount(every), np.bincount(every, images)
    needs = np.full((len(shares), len(held)), everywhere)
    needs[:, _ALL] = True
    needs[0] = True
    few = [
        (name, int(number), int(images_of))
        for name, number, images_of, needed in zip(
            ["all classes", *known], held, total, np.logical_and.reduce(needs), strict=True
        )
        if needed and number < len(shares)
    ]
    if few and len(units) == len(classes):
        raise InputError(
            f"data.init_args.root: too few images to be split into {names}: "
            f"{listed([f'{name} ({images_of})' for name, _, images_of in few])}; expected {len(shares)} or more of each"
        )
    if few:
        shown = [f"{name} ({counted(i, 'image')} in {counted(number, 'group')})" for name, number, i in few]
        raise InputError(
            f"data.init_args.groups: too few groups to be split into {names}: {listed(shown)}; expected {len(shares)} "
            "groups or more of each: name smaller groups, add images, or make the splits yourself"
        )
    rng = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        part_of, has = _assigned(units, np.outer(shares, total), held, needs, rng)
        if has[needs].all():
            part = part_of[groups]
            return [np.flatnonzero(part == at) for at in range(len(shares))]
    raise InputError(
        f"data.init_args.groups: found no division of {len(units)} groups into {names} in which each has each class: "
        "most groups hold several classes; name smaller groups, or make the splits yourself"
    )


def fold_rows(
    classes: Sequence[frozenset[str]],
    groups: Int64Array,
    fold: Fold,
    *,
    val_fraction: float,
    seed: int,
    everywhere: bool,
) -> dict[str, Int64Array]:
    """Rows of a fold as `test`, and of what is left as `train` and, unless its share of that is 0, `val`.

    Args:
        classes: As for `divide_groups`.
        groups: As for `divide_groups`.
        fold: Which.
        val_fraction: Share of the other folds.
        seed: Of the division into folds, and of validation.
        everywhere: As for `divide_groups`.

    Raises:
        InputError: If there are too few groups.
    """
    shares = [1 / fold.of] * fold.of
    parts = divide_groups(classes, groups, shares, seed=seed, everywhere=everywhere, names=f"{fold.of} folds")
    test = parts[fold.number - 1]
    rest = np.setdiff1d(np.arange(len(classes)), test)
    if val_fraction == 0:
        return {"train": rest, "test": test}
    inner = np.unique(groups[rest], return_inverse=True)[1]
    train, val = divide_groups(
        [classes[row] for row in rest.tolist()],
        inner,
        [1 - val_fraction, val_fraction],
        seed=seed,
        everywhere=everywhere,
        names="train and val beside a fold",
    )
    return {"train": rest[train], "val": rest[val], "test": test}


def _assigned(
    units: Sequence[tuple[Int64Array, npt.NDArray[np.float64]]],
    wanted: npt.NDArray[np.float64],
    held: Int64Array,
    needs: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    """The part of each group, (G,), and which part has which class, (P, K + 1)."""
    has, left = np.zeros_like(wanted), held.copy()
    sizes = np.array([count[of == _ALL][0] for of, count in units])
    order = rng.permutation(len(units))
    part_of = np.zeros(len(units), dtype=np.int64)
    for unit in order[np.argsort(-np.floor(np.log2(sizes[order])), kind="stable")].tolist():
        of, count = units[unit]
        lacking = needs[:, of] & (has[:, of] == 0)
        urgent = (lacking & (left[of] <= lacking.sum(0))).sum(1)  # classes whose last groups a part needs
        cost = (count * (2 * (has[:, of] - wanted[:, of]) + count) / wanted[:, of]).sum(1)
        part = int(np.where(urgent == urgent.max(), cost, np.inf).argmin())
        part_of[unit] = part
        has[part, of] += count
        left[of] -= 1
    return part_of, has > 0
