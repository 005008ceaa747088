"""Forecasts from a quarter of the images hold for half and all of them.

python bench/study.py how-much-data --backbone NAME pets3=FOLDER cifar=FOLDER
"""

from collections.abc import Sequence
from math import hypot

import numpy as np

from bench.studies.common import datasets
from visiontasks.ops.metrics import wilson_interval
from visiontasks.study.crossfit import fit_head
from visiontasks.study.features import Features
from visiontasks.study.how_much_data import forecast_accuracy, study_amount

PART = 0.25
"""Of the images that a forecast knows."""


def prove(words: Sequence[str]) -> None:
    """A line for each forecast, and for each dataset how many hold the truth."""
    found, given = datasets(words, str(__doc__))
    for name, features in found:
        _prove(name, features, given.seeds)


def _prove(name: str, features: Features, seeds: int) -> None:
    """Forecast from a quarter of the images the accuracy with two and four times as many, and measure it."""
    held, near = {2.0: 0, 4.0: 0}, {2.0: 0, 4.0: 0}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(features))
        few = order[: round(PART * len(order))]
        curve = study_amount(features.select(np.sort(few)), seed=seed)
        sizes, right = [each.images for each in curve.points], [sum(each.right) for each in curve.points]
        for factor in held:
            known = order[: round(factor * sizes[-1])]
            judged = order[round(4.0 * sizes[-1]) :]
            head = fit_head(features.vectors[known], features.labels[known], features.groups[known], len(curve.counts))
            truth = float((head.logits(features.vectors[judged]).argmax(1) == features.labels[judged]).mean())
            middle, low, high = forecast_accuracy(sizes, right, curve.n, factor * sizes[-1])
            held[factor] += low <= truth <= high
            least, most = wilson_interval(round(truth * len(judged)), len(judged))
            away = hypot(high - middle, truth - least) if truth > middle else hypot(middle - low, most - truth)
            near[factor] += abs(truth - middle) <= away
            print(
                f"{name:10} seed {seed} {sizes[-1]:.0f} images: {curve.points[-1].accuracy:.4f}, {factor:.0f} times: "
                f"forecast {middle:.4f} ({low:.4f} to {high:.4f}), measured {truth:.4f} on {len(judged):,}",
                flush=True,
            )
    for factor, count in held.items():
        print(
            f"{name:10} {factor:.0f} times as many: {count} of {seeds} forecasts hold what was measured, "
            f"{near[factor]} with its own uncertainty",
            flush=True,
        )
