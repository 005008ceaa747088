"""What images look like in numbers: sharpness, light, contrast, colour, noise; size and compression of their files."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.outputs.base import Float32Array, UInt8Array

MEASURES = ("sharpness", "light", "contrast", "colour", "noise")
"""Of the pixels that the network gets, see `measured`."""
FILE_MEASURES = ("megapixels", "bytes per pixel")
_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def measured(image: UInt8Array) -> Float32Array:
    """An image in numbers.

    Args:
        image: Resized, RGB (H, W, 3).

    Returns:
        float32 (5,): decadic logarithm of 1 + the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing
        in brightfield microscopy", 2000); mean and standard deviation of the grey, 0 to 255; mean saturation, 0 to 255;
        standard deviation of the noise (Immerkaer, "Fast Noise Variance Estimation", 1996).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sharpness = np.log10(cv2.Laplacian(grey, cv2.CV_32F).var() + 1)
    inside = np.abs(cv2.filter2D(grey, cv2.CV_32F, _LAPLACIANS)[1:-1, 1:-1])
    noise = np.sqrt(np.pi / 2) / 6 * (inside.mean() if inside.size else 0.0)
    saturation = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1].mean()
    return np.array([sharpness, grey.mean(), grey.std(), saturation, noise], np.float32)


def file_measures(files: Sequence[str], sizes: Int64Array) -> Float32Array:
    """Megapixels, and bytes per pixel.

    Args:
        files: Image files.
        sizes: Their height and width in pixels, (n, 2).

    Returns:
        float32 (n, 2).
    """
    pixels = sizes.prod(1).astype(np.float64)
    sizes_bytes = np.array([Path(file).stat().st_size for file in files], dtype=np.float64)
    return np.stack([pixels / 1e6, sizes_bytes / pixels], 1).astype(np.float32)
