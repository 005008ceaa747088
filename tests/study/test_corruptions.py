"""Images made worse on purpose."""

import numpy as np
import pytest

from visiontasks.study.corruptions import KINDS, STEPS, corrupted

IMAGE = np.tile(np.linspace(40, 200, 48)[None, :, None], (32, 1, 3)).astype(np.uint8)
IMAGE[8:16, 8:16] = (200, 40, 90)


@pytest.mark.parametrize("kind", KINDS)
def test_each_step_is_further_from_the_image_and_the_same_each_time(kind: str) -> None:
    changed = [corrupted(IMAGE, kind, step, seed=3) for step in range(STEPS)]
    assert all(each.shape == IMAGE.shape and each.dtype == np.uint8 for each in changed)
    off = [np.abs(each.astype(float) - IMAGE).mean() for each in changed]
    assert off[0] > 0.2
    assert off[0] < off[1] < off[2]
    assert np.array_equal(changed[1], corrupted(IMAGE, kind, 1, seed=3))


def test_light_is_scaled_and_cut_at_white() -> None:
    flat = np.full((4, 4, 3), 100, np.uint8)
    assert corrupted(flat, "dark", 0).max() == 50
    assert corrupted(flat, "bright", 0).max() == 160
    assert corrupted(flat, "bright", 2).max() == 255


def test_noise_has_its_deviation_and_another_seed_is_other_noise() -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    first, second = (corrupted(flat, "noise", 0, seed=seed).astype(float) for seed in (0, 1))
    assert first.std() == pytest.approx(15, abs=0.5)
    assert not np.array_equal(first, second)
