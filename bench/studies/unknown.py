"""Images of a class that the training did not have are noticed, and the promised share of false alarms is kept.

Each class of a dataset is left out in turn (pets), or digits stand for what is unknown (CIFAR-10). Of the known images
a half is the training, and the rest is divided 40 times at random into validation and test, for each of 5 seeds. AUROC
is the probability that an unknown image is farther than a known one; its interval is of the first division, by the
bootstrap over images. `kept` counts the divisions whose false alarms lie in the 95 % band of the beta-binomial
distribution of both draws. --choose measures three methods instead, on a third of all images that the proof leaves out.

python bench/study.py unknown [--choose] --backbone NAME pets3=FOLDER
python bench/study.py unknown [--choose] --digits --backbone resnet20_cifar.vt_cifar10 --image-size 32 cifar10=FOLDER
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from scipy.stats import betabinom, rankdata
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from bench.studies.common import datasets, spread
from visiontasks.backbones import create_vector
from visiontasks.data import Digits
from visiontasks.ops.calibration import rank_for
from visiontasks.study.features import Features, image_features
from visiontasks.tasks.known_images import KnownImages

SEEDS, CHOICES, DIVISIONS, ALARMS, BOOTSTRAPS = 5, 3, 40, 0.05, 1000
Fit = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]


def prove(words: Sequence[str]) -> None:
    """A line for each class that is left out."""
    flags = [word for word in words if word in ("--choose", "--digits")]
    found, given = datasets([word for word in words if word not in flags], str(__doc__))
    for name, features in found:
        kept = features.select(np.sort(np.unique(features.groups, return_index=True)[1]))
        others = _digits(given.backbone, given.image_size) if "--digits" in flags else None
        choosing = "--choose" in flags
        for title, *parts in _settings(name, kept, others):
            known, label, unknown = (_third(part, chosen=choosing) for part in parts)
            (_choose if choosing else _prove)(title, known, label, unknown)


def _settings(name: str, features: Features, others: Tensor | None) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """What is known and what is not: vectors and labels, and vectors."""
    vectors, label = torch.from_numpy(features.vectors), torch.from_numpy(features.labels)
    if others is not None:
        yield f"{name} against digits", vectors, label, others
        return
    for k, left_out in enumerate(features.class_names):
        yield f"{name} without {left_out}", vectors[label != k], label[label != k], vectors[label == k]


def _third(values: Tensor, *, chosen: bool) -> Tensor:
    """A third of the rows, by which a method is chosen, or the others."""
    order = np.random.default_rng(len(values)).permutation(len(values))
    return values[np.split(order, [len(order) // 3])[0 if chosen else 1]]


def _digits(backbone: str, image_size: int) -> Tensor:
    data = Digits(image_size=image_size)
    data.setup()
    network = create_vector(backbone, weights="hub", image_size=image_size)
    return torch.from_numpy(image_features(data, network).vectors)


def _choose(title: str, known: Tensor, label: Tensor, unknown: Tensor) -> None:
    """AUROC of each method."""
    for name, fit in METHODS.items():
        found = []
        for seed in range(CHOICES):
            train, val = _halves(known, seed)
            distance = fit(known[train], label[train])
            found.append(auroc(distance(known[val]), distance(unknown)))
        print(f"{title:32} {name:22} AUROC {spread(found)}, {len(train):,} {len(val):,} {len(unknown):,}", flush=True)


def _prove(title: str, known: Tensor, _: Tensor, unknown: Tensor) -> None:
    areas, alarms, noticed, kept, interval, sizes = [], [], [], 0, "", (0, 0, 0)
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        train, others = _halves(known, seed)
        fitted = KnownImages.fit(known[train], known[others])
        for _division in range(DIVISIONS):
            val, test = np.array_split(draw.permutation(others), 2)
            fitted = replace(fitted, distances=fitted.distance(known[val]).sort().values)
            ours, theirs = fitted.p_known(known[test]), fitted.p_known(unknown)
            far = fitted.distance(known[test]), fitted.distance(unknown)
            areas.append(auroc(*far))
            count = int((ours <= np.float32(ALARMS)).sum())
            rank = rank_for(1 - ALARMS, len(val))
            low, high = _band(len(test), len(val) + 1 - rank, rank)
            kept += low <= count <= high
            alarms.append(count / len(test))
            noticed.append(float((theirs <= np.float32(ALARMS)).float().mean()))
            interval = interval or "{:.3f} to {:.3f}".format(*_bootstrap(*far, draw))
            sizes = len(train), len(val), len(test)
    counts = f"train {sizes[0]:,} val {sizes[1]:,} test {sizes[2]:,} unknown {len(unknown):,}"
    promised = f"false alarms {spread(alarms)} of {ALARMS} promised, kept in {kept} of {len(areas)}"
    auc = f"AUROC {spread(areas)}, interval {interval}"
    print(f"{title:32} {counts}: {auc}; {promised}; noticed {spread(noticed)}", flush=True)


@cache
def _band(test: int, a: int, b: int) -> tuple[int, int]:
    """In which the number of false alarms among test images lies in 95 of 100 cases, if the promise is kept exactly."""
    found = betabinom(test, a, b)
    return int(found.ppf(0.025)), int(found.ppf(0.975))


def _halves(known: Tensor, seed: int) -> list[np.ndarray]:
    """Rows of the training and of other known images."""
    return np.array_split(np.random.default_rng(seed).permutation(len(known)), 2)


def auroc(near: Tensor, far: Tensor) -> float:
    """Probability that a value of `far` is larger than one of `near`; ties count half."""
    ranks = rankdata(np.concatenate([near.numpy(), far.numpy()]))
    return float((ranks[len(near) :].mean() - (len(far) + 1) / 2) / len(near))


def _bootstrap(near: Tensor, far: Tensor, draw: np.random.Generator) -> tuple[float, float]:
    found = [
        auroc(near[draw.integers(len(near), size=len(near))], far[draw.integers(len(far), size=len(far))])
        for _ in range(BOOTSTRAPS)
    ]
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def _neighbours(train: Tensor, label: Tensor) -> Callable[[Tensor], Tensor]:
    """Sun et al., "Out-of-Distribution Detection With Deep Nearest Neighbors", 2022."""
    unit = torch.nn.functional.normalize(train, dim=1)
    return lambda x: 1 - (torch.nn.functional.normalize(x, dim=1) @ unit.T).topk(10, dim=1).values[:, -1]


def _mahalanobis(train: Tensor, label: Tensor) -> Callable[[Tensor], Tensor]:
    """Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples", 2018."""
    classes = [
        _gaussian(train[label == k].double().mean(0), inverse)
        for inverse in [_inverse(train, label)]
        for k in label.unique()
    ]
    return lambda x: torch.stack([distance(x) for distance in classes]).amin(0)


def _relative(train: Tensor, label: Tensor) -> Callable[[Tensor], Tensor]:
    """Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", 2021."""
    own, whole = _mahalanobis(train, label), torch.zeros_like(label)
    background = _gaussian(train.double().mean(0), _inverse(train, whole))
    return lambda x: own(x) - background(x)


def _inverse(train: Tensor, label: Tensor) -> Tensor:
    """Of the shared covariance, shrunk (Ledoit and Wolf, 2004)."""
    centred = train.double().clone()
    for k in label.unique():
        centred[label == k] -= centred[label == k].mean(0)
    return torch.linalg.inv(torch.from_numpy(ledoit_wolf(centred.numpy(), assume_centered=True)[0]))


def _gaussian(mean: Tensor, inverse: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: (((x.double() - mean) @ inverse) * (x.double() - mean)).sum(1)


METHODS: dict[str, Fit] = {"10 neighbours": _neighbours, "Mahalanobis": _mahalanobis, "relative Mahalanobis": _relative}
