"""Feature vectors of images in a file for other programs: .npz for NumPy, or .csv."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.csv_tables import CSVWriter
from visiontasks.outputs.base import Float32Array


def save_embeddings(
    path: Path,
    vectors: Float32Array,
    files: Sequence[str],
    *,
    splits: Sequence[str] = (),
    labels: Sequence[str] = (),
    errors: Mapping[str, str] | None = None,
) -> None:
    """Write vectors with what is known of each image.

    A .npz has the arrays `vectors` float32 (n, D), `files`, `splits` and `labels` (n,), empty texts where nothing is
    known, and `unreadable` and `errors` (m,) of files that could not be read. A .csv has the columns file, split,
    label, error, 0, 1, ... D - 1, and a row for each of both.

    Args:
        path: The file; its suffix decides.
        vectors: (n, D).
        files: Of the images, n.
        splits: Of the images, n; empty for images of a folder.
        labels: Their classes, n; empty where they are not known.
        errors: Why others could not be read, by file.
    """
    errors = errors or {}
    n = len(files)
    about = {"files": files, "splits": splits or [""] * n, "labels": labels or [""] * n}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".npz":
        texts = {**about, "unreadable": list(errors), "errors": list(errors.values())}
        arrays: dict[str, Any] = {name: np.array(each, np.str_) for name, each in texts.items()}
        with path.open("wb") as archive:  # a name would get another suffix behind .NPZ
            np.savez(archive, vectors=vectors, **arrays)
        return
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as table:
        writer = CSVWriter(table)
        writer.write(["file", "split", "label", "error", *map(str, range(vectors.shape[1]))])
        for *texts_of_image, vector in zip(*about.values(), vectors, strict=True):
            writer.write([*texts_of_image, None, *map(float, vector)])
        for name, error in errors.items():
            writer.write([name, None, None, error])
