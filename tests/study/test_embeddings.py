"""Embeddings for other programs."""

import csv
from pathlib import Path

import numpy as np

from visiontasks.study.embeddings import save_embeddings

VECTORS = np.array([[0.5, -1], [2, 0.1]], np.float32)


def test_npz_has_vectors_names_and_errors(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npz"
    save_embeddings(path, VECTORS, ["a", "b"], splits=["train", "val"], labels=["cat", "dog"], errors={"c": "empty"})
    with np.load(path) as found:  # no pickles
        assert np.array_equal(found["vectors"], VECTORS)
        texts = {name: found[name].tolist() for name in found.files if name != "vectors"}
    assert texts == {
        "files": ["a", "b"],
        "splits": ["train", "val"],
        "labels": ["cat", "dog"],
        "unreadable": ["c"],
        "errors": ["empty"],
    }


def test_csv_has_a_row_for_each_image_and_each_error(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "a.csv", VECTORS, ["a", "=b"], errors={"c": "empty"})
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "split", "label", "error", "0", "1"]
    assert rows[1] == ["a", "", "", "", "0.5", "-1.0"]
    assert rows[2][0] == "'=b"
    assert np.float32(rows[2][5]) == VECTORS[1, 1]
    assert rows[3] == ["c", "", "", "empty"]
