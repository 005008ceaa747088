"""MNIST's idx files, made small; the checksums are replaced by theirs."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from visiontasks.data import MNIST
from visiontasks.data.datasets import mnist
from visiontasks.errors import InputError, MissingFileError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 training and 20 test images, image i of class i % 10 and grey i; images gzipped, labels not."""
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for prefix, number in (("train", 40), ("t10k", 20)):
        pixels = np.repeat(np.arange(number, dtype=np.uint8), 28 * 28).tobytes()
        sizes = b"".join(size.to_bytes(4, "big") for size in (number, 28, 28))
        images = bytes((0, 0, 8, 3)) + sizes + pixels
        labels = bytes((0, 0, 8, 1)) + sizes[:4] + bytes(i % 10 for i in range(number))
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images, mtime=0))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            monkeypatch.setitem(mnist.MD5, f"{prefix}-{name}-ubyte", md5)
    return tmp_path


def test_gzipped_and_plain_files_are_read(root: Path) -> None:
    data = MNIST(str(root), batch_size=4)
    data.prepare_data()
    data.setup("fit")
    assert data.split_sizes == {"train": 30, "val": 10, "test": 20}
    assert data.class_counts == [3] * 10
    sample = data.source("test")[13]
    assert sample["label"] == 3
    assert sample["image"].shape == (28, 28, 3)
    assert (sample["image"] == 13).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte.gz", b"no gzip", "cannot be unpacked"),
        ("train-images-idx3-ubyte.gz", gzip.compress(b"x" * 999, mtime=0)[:-9], "cannot be unpacked"),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(b"other images", mtime=0),
            "not MNIST's file, the md5 of its content is",
        ),
        ("t10k-labels-idx1-ubyte", b"", "not MNIST's file"),
    ],
)
def test_other_files_are_refused(root: Path, name: str, content: bytes, message: str) -> None:
    (root / "MNIST/raw" / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        MNIST(str(root)).setup()


def test_missing_files_are_named(root: Path) -> None:
    (root / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingFileError, match=r"no MNIST in .*: run with"):
        MNIST(str(root)).prepare_data()
    with pytest.raises(MissingFileError, match=r"t10k-labels-idx1-ubyte\[\.gz\] is missing"):
        MNIST(str(root)).setup()


def test_without_network_the_ways_out_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no MNIST in .* cannot be downloaded .*put the files into"):
        MNIST(str(tmp_path), download=True).prepare_data()


@pytest.mark.realdata
def test_all_70000_digits_are_read(unpacked: Callable[[str], Path]) -> None:
    data = MNIST(str(unpacked("mnist")), batch_size=500)
    data.prepare_data()
    data.setup("fit")
    assert data.split_sizes == {"train": 54000, "val": 6000, "test": 10000}
    assert np.bincount(data.source("test").labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean = np.mean([batch["image"].float().mean().item() for batch in data.val_dataloader()]) / 255
    assert mean == pytest.approx(0.1307, abs=0.002)  # the training images' mean in the literature
