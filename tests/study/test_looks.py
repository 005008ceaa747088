"""Images in numbers."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from visiontasks.study.looks import MEASURES, file_measures, measured


def look(image: np.ndarray) -> dict[str, float]:
    return dict(zip(MEASURES, measured(image.astype(np.uint8)).tolist(), strict=True))


def test_a_flat_colour_has_light_and_colour_alone() -> None:
    """Red of 200: grey 0.299 * 200 = 60, saturation full."""
    assert look(np.full((16, 16, 3), (200, 0, 0))) == pytest.approx(
        {"sharpness": 0, "light": 60, "contrast": 0, "colour": 255, "noise": 0}
    )


def test_noise_is_measured_in_grey_levels() -> None:
    noise = np.random.default_rng(0).normal(scale=10, size=(128, 128, 1))
    assert look(np.clip(128 + np.repeat(noise, 3, axis=2), 0, 255))["noise"] == pytest.approx(10, abs=0.5)


def test_a_blur_takes_sharpness_away() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert look(image)["sharpness"] > 3 > look(cv2.GaussianBlur(image, (0, 0), 3))["sharpness"]


def test_files_have_megapixels_and_bytes_per_pixel(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3000))
    assert np.allclose(file_measures([str(tmp_path / "a")], np.array([[1000, 2000]])), [[2.0, 0.0015]])
