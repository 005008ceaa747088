"""Images made worse on purpose, by which it is learned how a network's accuracy falls with its confidence.

Kinds and the idea of steps of severity are from Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", 2019 (https://arxiv.org/abs/1903.12261); these are ten simple ones in three
steps, applied to the resized image, with sizes as shares of its shorter side.
"""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from visiontasks.outputs.base import UInt8Array

STEPS = 3
Changed = npt.NDArray[Any]
"""Pixels, which may be no whole numbers and beyond 0 to 255."""


def corrupted(image: UInt8Array, kind: str, step: int, *, seed: int = 0) -> UInt8Array:
    """An image made worse.

    Args:
        image: RGB, (H, W, 3).
        kind: One of `KINDS`.
        step: 0, 1 or 2, the strongest.
        seed: Of what is random.

    Returns:
        RGB, of the same size.
    """
    changed = KINDS[kind](image, step, np.random.default_rng([seed, step]))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _noise(image: UInt8Array, step: int, draw: np.random.Generator) -> Changed:
    return image + draw.normal(scale=(15, 35, 70)[step], size=image.shape)


def _blur(image: UInt8Array, step: int, _: np.random.Generator) -> Changed:
    least_px = (0.5, 0.8, 1.2)[step]  # a blur that is finer changes nothing
    return cv2.GaussianBlur(image, (0, 0), max(least_px, _pixels(image, (0.006, 0.014, 0.03)[step])))


def _motion(image: UInt8Array, step: int, draw: np.random.Generator) -> Changed:
    length = max(3, round(_pixels(image, (0.04, 0.08, 0.16)[step])))
    kernel, angle = np.zeros((length, length), np.float32), draw.uniform(0, np.pi)
    middle, reach = (length - 1) / 2, (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple(np.rint(middle + side * reach).astype(int).tolist()) for side in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _dark(image: UInt8Array, step: int, _: np.random.Generator) -> Changed:
    return image * (0.5, 0.25, 0.12)[step]


def _bright(image: UInt8Array, step: int, _: np.random.Generator) -> Changed:
    return image * (1.4, 1.9, 2.6)[step] + 20


def _contrast(image: UInt8Array, step: int, _: np.random.Generator) -> Changed:
    mean: Changed = image.mean((0, 1), keepdims=True)
    changed: Changed = mean + (image - mean) * (0.5, 0.25, 0.1)[step]
    return changed


def _compressed(image: UInt8Array, step: int, _: np.random.Generator) -> Changed:
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, (25, 10, 4)[step]])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))


def _coarse(image: UInt8Array, step: int, _: np.random.Generator) -> Changed:
    height, width = image.shape[:2]
    factor = (2, 4, 7)[step]
    small = cv2.resize(image, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _covered(image: UInt8Array, step: int, draw: np.random.Generator) -> Changed:
    height, width = (round(side * (0.35, 0.5, 0.65)[step]) for side in image.shape[:2])
    top, left = draw.integers(image.shape[0] - height + 1), draw.integers(image.shape[1] - width + 1)
    changed = image.copy()
    changed[top : top + height, left : left + width] = 128
    return changed


def _turned(image: UInt8Array, step: int, draw: np.random.Generator) -> Changed:
    height, width = image.shape[:2]
    angle = float(draw.choice([-1, 1])) * (20, 50, 90)[step]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    return cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)


def _pixels(image: UInt8Array, share: float) -> float:
    return share * float(min(image.shape[:2]))


KINDS: Mapping[str, Callable[[UInt8Array, int, np.random.Generator], Changed]] = {
    "noise": _noise,
    "blur": _blur,
    "motion": _motion,
    "dark": _dark,
    "bright": _bright,
    "contrast": _contrast,
    "compressed": _compressed,
    "coarse": _coarse,
    "covered": _covered,
    "turned": _turned,
}
