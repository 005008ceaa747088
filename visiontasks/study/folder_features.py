"""Features of image files without labels: a folder's, or single ones; a file that cannot be read keeps its error."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visiontasks.cores import available_cores
from visiontasks.data.pipeline.duplicates import UInt64Array
from visiontasks.data.pipeline.sources import Int64Array, content_checksum
from visiontasks.finetuning.feature_store import View
from visiontasks.outputs.base import Float32Array, UInt8Array
from visiontasks.predict.inputs import Prepared, Preprocessing, in_batches, prepare
from visiontasks.study.extractors import BATCH_SIZE, Extractor, open_files, store_rows
from visiontasks.study.features import OnImages, recognized
from visiontasks.study.looks import MEASURES, measured

LEAST_CACHED = 2 * BATCH_SIZE
"""Images; of fewer features are computed anew, sooner than files are opened."""


@dataclass(frozen=True, eq=False)
class FolderFeatures:
    """Features of n image files that could be read, and the errors of the others.

    Args:
        files: As they were given, n.
        vectors: (n, D).
        sizes: Height and width of the originals, (n, 2).
        hashes: pHash of each, see `Features`, (n,).
        thumbnails: (n, 16, 16).
        looks: Of the resized images, see `visiontasks.study.looks.measured`, (n, 5).
        errors: Why a file could not be read, by its name.
    """

    files: Sequence[str]
    vectors: Float32Array
    sizes: Int64Array
    hashes: UInt64Array
    thumbnails: UInt8Array
    looks: Float32Array
    errors: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.files)


@torch.inference_mode()
def folder_features(
    files: Sequence[str],
    preprocessing: Preprocessing,
    extractor: Extractor,
    *,
    on_images: OnImages | None = None,
) -> FolderFeatures:
    """Features of image files, read and resized as `visiontasks predict` does; of many they are cached by content.

    Args:
        files: Image files, each once.
        preprocessing: How they get the size of the network's input.
        extractor: The network.
        on_images: Is told images that are done and all images.
    """
    kind = preprocessing.size, preprocessing.resize, preprocessing.least_size, preprocessing.max_16bit
    facts = ["files", *kind, list(map(_content, files))]
    cache = open_files(extractor, facts, _about(files)) if len(files) >= LEAST_CACHED else None
    view = None if cache is None else cache.view("files", len(files))
    try:
        known = _known(view, len(files))
        missing = [row for row in range(len(files)) if row not in known]
        errors: dict[str, str] = {}
        batches = in_batches(
            lambda row: (row, prepare(row, files[row], [preprocessing])),
            missing,
            size=BATCH_SIZE,
            threads=available_cores(),
            ahead=False,
        )
        with closing(batches):
            for batch in batches:
                readable = [(row, image) for row, image in batch if image.error is None]
                errors |= {files[row]: str(image.error) for row, image in batch if image.error is not None}
                if readable:
                    entries = _entries([image for _, image in readable], extractor)
                    rows = [row for row, _ in readable]
                    view = store_rows(cache, view, torch.tensor(rows), entries)
                    known |= {row: {key: entries[key][i] for key in entries} for i, row in enumerate(rows)}
                if on_images is not None:
                    on_images(len(known) + len(errors), len(files))
    finally:
        if cache is not None:
            cache.close()
    return _gathered(files, known, errors)


def _entries(images: Sequence[Prepared], extractor: Extractor) -> dict[str, Tensor]:
    pixels = [image.inputs[0][0] for image in images]
    sizes = [image.size for image in images if image.size is not None]
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    looks = torch.from_numpy(np.stack(list(map(measured, pixels))))
    entries = {"features": extractor.vectors(batch), "size": torch.tensor(sizes), "looks": looks}
    return {**entries, **recognized(pixels, sizes)}


def _known(view: View | None, count: int) -> dict[int, dict[str, Tensor]]:
    """Rows that are stored."""
    if view is None or not view.is_created:
        return {}
    rows = np.setdiff1d(np.arange(count), view.missing())
    read = view.rows(torch.from_numpy(rows)) if len(rows) else None
    if read is None:
        return {}
    return {int(row): {key: read[key][i] for key in read} for i, row in enumerate(rows)}


def _gathered(
    files: Sequence[str], known: Mapping[int, Mapping[str, Tensor]], errors: dict[str, str]
) -> FolderFeatures:
    rows = sorted(known)

    def column(name: str, empty: Tensor) -> Tensor:
        return torch.stack([known[row][name] for row in rows]) if rows else empty

    return FolderFeatures(
        files=[files[row] for row in rows],
        vectors=column("features", torch.zeros(0, 0)).numpy(),
        sizes=column("size", torch.zeros(0, 2, dtype=torch.int64)).numpy(),
        hashes=column("hash", torch.zeros(0, dtype=torch.int64)).numpy().view(np.uint64),
        thumbnails=column("thumbnail", torch.zeros(0, 16, 16, dtype=torch.uint8)).numpy(),
        looks=column("looks", torch.zeros(0, len(MEASURES))).numpy(),
        errors={file: errors[file] for file in files if file in errors},
    )


def _content(file: str) -> str:
    """A file by its content; one that cannot be opened by why."""
    try:
        status = Path(file).stat()
        return f"{file} {status.st_size} {status.st_mtime_ns} {content_checksum(file)}"
    except OSError as error:
        return f"{file} {error}"


def _about(files: Sequence[str]) -> dict[str, str]:
    return {"data": f"{len(files):,} files", "root": str(Path(files[0]).parent)}
