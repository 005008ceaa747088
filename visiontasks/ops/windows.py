"""Prediction of images larger than a network's input: windows that overlap and are blended."""

from collections.abc import Callable
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]  # height, width


def sliding_window(image: Tensor, predict: Callable[[Tensor], Tensor], *, window: Size, overlap: float = 0.5) -> Tensor:
    """Predict an image window by window.

    Windows lie at even distances, the first and the last at the image's borders. Where they overlap, predictions are
    averaged with weights that fall linearly from a window's middle to its border, where a network knows least.

    Args:
        image: (B, C, H, W). Where it is smaller than a window it is padded with zeros.
        predict: Maps (B, C, *window) to (B, K, *window).
        window: Height and width of the windows.
        overlap: Share of a window that its neighbour covers at least, in [0, 1).

    Returns:
        (B, K, H, W), in float32.
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, max(0, window[1] - width), 0, max(0, window[0] - height)))
    weight = _ramp(window[0], image)[:, None] * _ramp(window[1], image)
    blended: Tensor | None = None
    total = image.new_zeros(padded.shape[-2:], dtype=torch.float32)
    for top in _starts(padded.shape[-2], window[0], overlap):
        for left in _starts(padded.shape[-1], window[1], overlap):
            part = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            predicted = predict(padded[part]).float()
            if blended is None:
                blended = predicted.new_zeros((*predicted.shape[:2], *padded.shape[-2:]))
            blended[part] += weight * predicted
            total[part] += weight
    assert blended is not None  # there is at least one window
    return (blended / total)[..., :height, :width]


def _starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin so that they cover a length, with at least the overlap, evenly."""
    number = 1 + ceil((length - window) / max(1.0, window * (1 - overlap)))
    return [round(i * (length - window) / max(1, number - 1)) for i in range(number)]


def _ramp(length: int, like: Tensor) -> Tensor:
    """1, 2, 3, ..., 3, 2, 1."""
    position = torch.arange(1, length + 1, device=like.device, dtype=torch.float32)
    return torch.minimum(position, position.flip(0))
