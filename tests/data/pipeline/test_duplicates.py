"""The same picture again, with the same pixels or others, against pictures that are merely alike."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.data.pipeline.duplicates import equal_groups, near_groups, near_pairs, thumbnail_and_hash
from visiontasks.data.pipeline.reader import UInt8Array

NUMBER = 60


def picture(seed: int, height: int = 96, width: int = 128) -> UInt8Array:
    """Coarse and fine patches of random colours, as a photograph has."""
    rng = np.random.default_rng(seed)
    layers = (
        cv2.resize(rng.uniform(0, 220, (n, n, 3)), (width, height), interpolation=cv2.INTER_CUBIC) * share
        for n, share in ((5, 0.7), (16, 0.3))
    )
    return np.clip(sum(layers), 0, 255).astype(np.uint8)


def jpeg(image: UInt8Array, quality: int) -> UInt8Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def shrunk(image: UInt8Array, share: float) -> UInt8Array:
    return np.asarray(cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_LINEAR), np.uint8)


def brighter(image: UInt8Array, factor: float) -> UInt8Array:
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def found(firsts: list[UInt8Array], seconds: list[UInt8Array]) -> list[tuple[int, int]]:
    """Pairs (i, j) of firsts[i] and seconds[j]."""
    looks = [thumbnail_and_hash(image) for image in (*firsts, *seconds)]
    rows = np.arange(len(looks))
    pairs = near_pairs(
        np.array([phash for _, phash in looks], np.uint64),
        np.stack([thumbnail for thumbnail, _ in looks]),
        rows[: len(firsts)],
        rows[len(firsts) :],
    )
    return [(first, second - len(firsts)) for first, second, _ in pairs]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: jpeg(image, 60),
        lambda image: shrunk(image, 0.8),
        lambda image: brighter(image, 1.1),
        lambda image: jpeg(brighter(shrunk(image, 0.8), 1.1), 60),
        lambda image: brighter(image, 0.8),
        lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2),
    ],
    ids=["jpeg 60", "80 %", "brighter", "all three", "darker", "grey"],
)
def test_each_changed_picture_is_found_and_no_other(change: Callable[[UInt8Array], UInt8Array]) -> None:
    images = [picture(seed) for seed in range(NUMBER)]
    assert found(images, [change(image) for image in images]) == [(i, i) for i in range(NUMBER)]


def test_flat_images_are_no_duplicates_of_each_other() -> None:
    rng = np.random.default_rng(0)
    flat: list[Any] = [np.full((64, 64, 3), value) + rng.integers(0, 3, (64, 64, 3)) for value in (90, 91, 200)]
    images = [image.astype(np.uint8) for image in flat]
    assert found(images, images) == []


def test_the_same_horizon_under_other_things_is_no_duplicate() -> None:
    images = []
    for seed in range(NUMBER):
        image = picture(seed)
        image[:48] = (image[:48] * 0.3 + 140).astype(np.uint8)  # a pale sky over a dark ground
        image[48:] = (image[48:] * 0.6).astype(np.uint8)
        images.append(image)
    assert found(images[:30], images[30:]) == []


def test_other_pictures_on_the_same_ground_are_no_duplicates() -> None:
    ground = picture(1000).astype(np.float64)
    images = [(0.65 * ground + 0.35 * picture(seed)).astype(np.uint8) for seed in range(NUMBER)]
    assert found(images[:30], images[30:]) == []


def test_many_pairs_come_one_by_one() -> None:
    images = [picture(0)] * 300
    assert len(found(images, images)) == 300 * 300


def test_equal_digests_are_grouped_and_empty_ones_are_not() -> None:
    assert equal_groups([b"a", b"", b"b", b"a", b"", b"a", b"b", b"c"]) == [[0, 3, 5], [2, 6]]


def test_near_duplicates_are_joined_also_by_way_of_others() -> None:
    """Thumbnails 0, 1 and 3 are one picture, their hashes a chain of 8 bits each: 0 and 3 differ by 16, above 10."""
    picture = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (16, 16)).astype(np.uint8)
    hashes = np.array([2**32, 2**32 + 0xFF, 2**60, 2**32 + 0xFFFF], dtype=np.uint64)
    assert near_groups(hashes, np.stack([picture, picture, other, picture])).tolist() == [0, 0, 2, 0]


def test_images_that_are_not_compared_stay_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    assert near_groups(np.zeros(3, dtype=np.uint64), np.stack([picture] * 3)).tolist() == [0, 1, 2]
