"""Which backbone suits a dataset: a cross-fitted linear head on each one's frozen features."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from timm.models import get_pretrained_cfg

from visiontasks.backbones import create_vector
from visiontasks.data import DataModule
from visiontasks.errors import InputError, MissingFileError
from visiontasks.ops.metrics import mcnemar, wilson_interval
from visiontasks.study.crossfit import FOLDS, crossfit, log_loss
from visiontasks.study.features import image_features, milliseconds

SPLITS = ("train", "val")
"""Backbones are chosen by these; test images decide nothing."""
DEFAULT = (
    "resnet20_cifar.vt_cifar10",
    "mobilenetv3_small_100.lamb_in1k",
    "mobilenetv2_100.ra_in1k",
    "efficientnet_lite0.ra_in1k",
    "efficientnet_b0.ra_in1k",
    "regnety_004.tv2_in1k",
    "convnext_atto.d2_in1k",
    "fastvit_t8.apple_in1k",
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "efficientformer_l1.snap_dist_in1k",
    "googlenet.tv_in1k",
    "resnet18.a1_in1k",
)
"""Families that a laptop trains; the smallest of each that has pretrained weights."""


@dataclass(frozen=True)
class Probed:
    """One backbone on the dataset.

    Args:
        name: As in `model.init_args.backbone`.
        right: Images whose class is predicted right, by heads that have not seen them.
        n: Images.
        accuracy: Share of them that is right.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        loss: Mean negative log probability of the true class.
        p: Of McNemar's exact test against the best; 1 for the best itself.
        image_ms: Time of the network for one image, on this machine.
        parameters: Weights and biases without a classifier.
        license: Of the weights, as timm states it; empty where it states none.
    """

    name: str
    right: int
    n: int
    accuracy: float
    low: float
    high: float
    loss: float
    p: float
    image_ms: float
    parameters: int
    license: str


@dataclass(frozen=True)
class ProbeStudy:
    """Backbones by accuracy, the best first.

    Args:
        probed: Those that were tried.
        missing: Why others were not, by name.
    """

    probed: Sequence[Probed]
    missing: dict[str, str]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def study_backbones(
    data: DataModule,
    names: Sequence[str] = (),
    *,
    folds: int = FOLDS,
    seed: int = 0,
    on_backbone: Callable[[str, int, int], None] | None = None,
) -> ProbeStudy:
    """Rank backbones by cross-fitted heads on the training and validation images.

    Args:
        data: After `setup()`; each image has one class.
        names: Backbones; by default `DEFAULT`, of which those are left out whose weights cannot be had.
        folds: See `crossfit`.
        seed: See `crossfit`.
        on_backbone: Is told the name of the next one, images that are done and all images.

    Raises:
        InputError: If no backbone can be tried, or a named one cannot.
    """
    found: list[tuple[Probed, np.ndarray[tuple[int], np.dtype[np.bool_]]]] = []
    missing: dict[str, str] = {}
    for name in names or DEFAULT:
        try:
            backbone = create_vector(name, weights="hub", image_size=data.image_size)
        except MissingFileError as error:
            missing[name] = str(error).splitlines()[0]
            continue
        except InputError as error:
            if names:
                raise
            missing[name] = str(error).splitlines()[0]
            continue
        report = None if on_backbone is None else _named(on_backbone, name)
        features = image_features(data, backbone, splits=SPLITS, on_images=report)
        known = features.vectors, features.labels, features.groups, features.class_names
        probabilities = crossfit(*known, folds=folds, seed=seed)
        is_right = probabilities.argmax(1) == features.labels
        right, n = int(is_right.sum()), len(features)
        low, high = wilson_interval(right, n)
        probed = Probed(
            name=name,
            right=right,
            n=n,
            accuracy=right / n,
            low=low,
            high=high,
            loss=log_loss(probabilities, features.labels),
            p=1.0,
            image_ms=milliseconds(data, backbone),
            parameters=sum(parameter.numel() for parameter in backbone.parameters()),
            license=_license(name),
        )
        found.append((probed, is_right))
    if not found:
        reasons = "; ".join(missing.values())
        raise InputError(f"no backbone could be tried: {reasons}")
    found.sort(key=lambda each: (-each[0].right, each[0].loss))
    best = found[0][1]
    probed_all = [
        replace(probed, p=mcnemar(int((best & ~is_right).sum()), int((is_right & ~best).sum())))
        for probed, is_right in found
    ]
    return ProbeStudy(probed_all, missing)


def _license(name: str) -> str:
    cfg = None if name.startswith("local-dir:") else get_pretrained_cfg(name)
    return str(getattr(cfg, "license", None) or "")


def _named(on_backbone: Callable[[str, int, int], None], name: str) -> Callable[[int, int], None]:
    return lambda done, total: on_backbone(name, done, total)
