"""The threshold of a score with the highest F1."""

from typing import Any

import numpy as np
import numpy.typing as npt


def highest_f1(score: npt.NDArray[np.floating[Any]], is_right: npt.NDArray[np.bool_], positives: int) -> float | None:
    """Choose the threshold of a score by which predictions are admitted.

    Args:
        score: Of each prediction, finite, (n,).
        is_right: Whether it is right, (n,).
        positives: How many should be found.

    Returns:
        The middle between the lowest score that it admits and the next one below, so that a small difference of a score
        changes nothing; of equally good ones the highest, which admits the fewest predictions. The lowest score itself
        where it admits all; None where nothing is right.
    """
    order = np.argsort(-score, kind="stable")
    score = score[order]
    right = np.cumsum(is_right[order])
    is_end = np.append(score[1:] != score[:-1], True)[: len(score)]  # equal scores are admitted together
    f1 = np.where(is_end, 2 * right / (np.arange(1, len(score) + 1) + positives), 0)
    if not f1.any():
        return None
    lowest, *below = score[int(f1.argmax()) :][:2]
    middle = (lowest + sum(below)) / (1 + len(below))
    return float(middle if below and middle > below[0] else lowest)  # between neighbours in float64 is nothing
