"""Temperatures make probabilities honest, and sets of classes keep their promise, in 200 random splits of each dataset.

Linear heads are trained on halves of the images by AdamW on the features of a frozen backbone, one for each of 5 seeds.
The other half is divided 40 times at random: by a third the best epoch, the temperature and the limit of the sets are
chosen, and another third is the test. `alone` is the coverage of the limit alone, without the rule that the most
probable class is always in; it is inside of the band where it lies in 95 of 100 cases if the promise is kept exactly,
by the beta-binomial distribution of both draws, of the validation and of the test images. `fresh` is the same with the
limit from the last third, which chose nothing: the difference is what the choice of epoch and temperature on the same
validation images costs.

python bench/study.py coverage --backbone NAME pets3=FOLDER
python bench/study.py coverage --backbone resnet20_cifar.vt_cifar10 --image-size 32 cifar10=TEST_FOLDER
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import betabinom
from torch import Tensor

from bench.studies.common import datasets, spread
from visiontasks.ops.calibration import least_values, rank_for, tempered_softmax
from visiontasks.study.features import Features
from visiontasks.tasks.calibration import PROMISES, Calibration

SPLITS, HEADS = 200, 5
EPOCHS, BATCH = 20, 32


def prove(words: Sequence[str]) -> None:
    """Tables of calibration and coverage for each dataset: means over splits with their standard deviation."""
    found, _ = datasets(words, str(__doc__))
    for name, features in found:
        _prove(name, features)


def _prove(name: str, features: Features) -> None:
    label, figures, changed = torch.from_numpy(features.labels), {}, 0
    kept = np.unique(features.groups, return_index=True)[1]  # one image of each group of near duplicates
    for seed in range(HEADS):
        draw = np.random.default_rng(seed)
        order = draw.permutation(kept)
        train, others = np.split(order, [len(order) // 2])
        epochs = _train(torch.from_numpy(features.vectors), label, train, len(features.class_names), seed)
        for _ in range(SPLITS // HEADS):
            parts = np.split(draw.permutation(others)[: 3 * (len(others) // 3)], 3)
            found, differ = _measure(epochs, label, *parts)
            changed += differ
            for key, value in found.items():
                figures.setdefault(key, []).append(value)
    _show(name, figures, changed, (len(train), *map(len, parts[:2])))


def _measure(
    epochs: Sequence[Tensor], label: Tensor, val: np.ndarray, test: np.ndarray, fresh: np.ndarray
) -> tuple[dict[str, float], int]:
    """Figures of one division, and how many test images got another class by the temperature."""
    right = [int((logits[val].argmax(1) == label[val]).sum()) for logits in epochs]
    logits = epochs[right.index(max(right))]
    known = Calibration.fit(logits[val], label[val])
    assert known is not None
    after = tempered_softmax(logits[test], known.temperature)
    other = tempered_softmax(logits[fresh], known.temperature).gather(1, label[fresh].unsqueeze(1)).squeeze(1)
    unseen = Calibration(known.temperature, other.sort().values)
    measured = known.measured(logits[test], label[test], "test")
    found: dict[str, float] = {
        "right": float((after.argmax(1) == label[test]).float().mean()),
        "temperature": known.temperature,
        **{f"{key} {when}": measured[when][key] for key in ("ece", "log_loss") for when in ("before", "after")},
    }
    of_label = after.gather(1, label[test].unsqueeze(1)).squeeze(1)
    for each in measured["sets"]:
        promise = each["promised"]
        if unseen.n < least_values(promise):
            continue
        alone = int((of_label >= known.least_probability(promise)).sum())
        low, high = _band(promise, known.n, len(test))
        found |= {
            f"{promise} covered": each["value"],
            f"{promise} size": each["mean_size"],
            f"{promise} below": each["count"] < low,
            f"{promise} alone": alone / len(test),
            f"{promise} alone inside": low <= alone <= high,
            f"{promise} fresh": float((of_label >= unseen.least_probability(promise)).float().mean()),
        }
    return found, int((after.argmax(1) != logits[test].argmax(1)).sum())


def _show(name: str, figures: dict[str, list[float]], changed: int, sizes: tuple[int, int, int]) -> None:
    print(f"{name}: {SPLITS} splits, train {sizes[0]:,}, val {sizes[1]:,}, test {sizes[2]:,}")
    right, temperature = spread(figures["right"]), spread(figures["temperature"])
    print(f"  accuracy {right}, temperature {temperature}, {changed} answers changed")
    for key in ("ece", "log_loss"):
        before, after = figures[f"{key} before"], figures[f"{key} after"]
        fell = sum(b > a for b, a in zip(before, after, strict=True))
        print(f"  {key}: {spread(before)} before, {spread(after)} after; fell in {fell} of {len(before)} splits")
    for promise in PROMISES:
        if f"{promise} covered" not in figures:
            print(f"  {promise}: too few validation images")
            continue
        of = {
            key: figures[f"{promise} {key}"] for key in ("covered", "size", "below", "alone", "alone inside", "fresh")
        }
        print(
            f"  promised {promise}: covered {spread(of['covered'])}, size {spread(of['size'])}, below the band in "
            f"{sum(of['below'])} of {len(of['below'])}; alone {spread(of['alone'])}, inside the band in "
            f"{sum(of['alone inside'])}; fresh {spread(of['fresh'])}",
            flush=True,
        )


def _train(vectors: Tensor, label: Tensor, train: np.ndarray, num_classes: int, seed: int) -> list[Tensor]:
    """Logits of all images after each epoch."""
    draw = torch.Generator().manual_seed(seed)
    mean, scale = vectors[train].mean(0), vectors[train].std(0).clamp_min(1e-6)
    inputs, head, found = (vectors - mean) / scale, torch.nn.Linear(vectors.shape[1], num_classes), []
    torch.nn.init.zeros_(head.weight)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(train)[torch.randperm(len(train), generator=draw)].split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(head(inputs[rows]), label[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            found.append(head(inputs))
    return found


@cache
def _band(promise: float, n: int, test: int) -> tuple[int, int]:
    """Of the covered test images, where a promise that is kept exactly lies in 95 of 100 draws."""
    rank = rank_for(promise, n)
    found = betabinom(test, rank, n + 1 - rank)
    return int(found.ppf(0.025)), int(found.ppf(0.975))
