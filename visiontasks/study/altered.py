"""Features of images as they are and made worse in all ways of `visiontasks.study.corruptions`; computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.outputs.base import Float32Array, UInt8Array
from visiontasks.outputs.geometry import Size
from visiontasks.study.corruptions import KINDS, STEPS, corrupted
from visiontasks.study.extractors import Extractor, open_files, store_rows
from visiontasks.study.features import OnImages
from visiontasks.study.looks import measured

WAYS = tuple((kind, step) for kind in KINDS for step in range(STEPS))


@dataclass(frozen=True, eq=False)
class Altered:
    """Features of n images, as they are and made worse.

    Args:
        clean: (n, D).
        worse: By way, (n, ways, D).
        looks: Of the images as they are, see `measured`, (n, 5).
        sizes: Height and width of the originals, (n, 2).
    """

    clean: Float32Array
    worse: Float32Array
    looks: Float32Array
    sizes: Int64Array


@torch.inference_mode()
def altered_features(
    read: Callable[[int], tuple[UInt8Array, Size]],
    count: int,
    extractor: Extractor,
    facts: Sequence[Any],
    about: dict[str, str],
    *,
    on_images: OnImages | None = None,
) -> Altered:
    """Features of images and of what `corrupted` makes of them.

    Args:
        read: Gives the pixels of an image, RGB (H, W, 3), of the size that the network takes, and its original size.
        count: How many images.
        extractor: The network.
        facts: What the pixels depend on.
        about: Whose features they are.
        on_images: Is told images that are done and all images.
    """
    files = open_files(extractor, ["altered", *WAYS, *facts], about)
    view = None if files is None else files.view("altered", count)
    try:
        known = view.rows(torch.arange(count)) if view is not None and view.is_complete else None
        if known is None:
            parts: list[dict[str, Tensor]] = []
            for row in range(count):
                parts.append(_entries(*read(row), row, extractor))
                view = store_rows(files, view, torch.tensor([row]), parts[-1])
                if on_images is not None:
                    on_images(row + 1, count)
            known = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    finally:
        if files is not None:
            files.close()
    features = known["features"].numpy()
    return Altered(features[:, 0], features[:, 1:], known["looks"].numpy(), known["size"].numpy())


def _entries(image: UInt8Array, size: Size, row: int, extractor: Extractor) -> dict[str, Tensor]:
    images = [image, *(corrupted(image, kind, step, seed=row) for kind, step in WAYS)]
    vectors = extractor.vectors(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
    looks = torch.from_numpy(measured(image))
    return {"features": vectors[None], "looks": looks[None], "size": torch.tensor([size])}
