"""Datasets that can be downloaded: their files, and a clear error within seconds where there is no network.

Imports nothing heavy, so that missing data is reported before the trainer is imported.
"""

import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visiontasks.errors import InputError, MissingFileError

_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Download:
    """A dataset that can be downloaded.

    Args:
        name: The dataset, for messages.
        urls: Addresses of the download, mirrors of each other.
        layouts: Each a set of path patterns under root, all of which match where the data is present.
        description: The layouts in words.
    """

    name: str
    urls: tuple[str, ...]
    layouts: tuple[tuple[str, ...], ...]
    description: str

    def is_in(self, root: Path) -> bool:
        """Whether a folder holds the data."""
        return any(all(any(root.glob(pattern)) for pattern in layout) for layout in self.layouts)

    def check(self, root: Path, *, allowed: bool) -> None:
        """Check that the data is present or can be downloaded.

        Args:
            root: Where it should be.
            allowed: Whether it may be downloaded.

        Raises:
            MissingFileError: If it is missing and may not be downloaded, or no server answers within 3 s.
        """
        if self.is_in(root):
            return
        if not allowed:
            raise MissingFileError(
                f"no {self.name} in {root}/: run with --data.init_args.download true (--data.download true), or point "
                f"--data.init_args.root at it ({self.description})"
            )
        reason = unreachable(self.urls)
        if reason:
            raise MissingFileError(
                f"no {self.name} in {root}/, and it cannot be downloaded from {' or '.join(self.urls)} ({reason}); "
                f"{self._ways_out(root)}"
            )

    def provide(self, root: Path, fetch: Callable[[], object], *, allowed: bool) -> None:
        """Download the data unless it is present.

        Args:
            root: Where it should be.
            fetch: Downloads it and checks its hash; may raise OSError or RuntimeError.
            allowed: Whether it may be downloaded.

        Raises:
            MissingFileError: As `check`.
            InputError: If the download breaks off, has a wrong checksum, or an archive would write outside of root.
        """
        self.check(root, allowed=allowed)
        if self.is_in(root):
            return
        try:
            with _data_filter():
                fetch()
        except (OSError, RuntimeError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"the download of {self.name} into {root}/ failed ({error}); try again, or {self._ways_out(root)}"
            ) from error

    def _ways_out(self, root: Path) -> str:
        return (
            f"put the files into {root}/ ({self.description}), point --data.init_args.root at a folder that has them, "
            "or use a recipe that needs no network (digits_resnet)"
        )


_IDX_FILES = [
    f"{part}-ubyte" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
]

DOWNLOADS = {
    "CIFAR10": Download(
        "CIFAR-10",
        ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
        (("cifar-10-batches-py",), ("train", "test")),
        "cifar-10-batches-py/ of cifar-10-python.tar.gz, or images in {train,test}/<class>/",
    ),
    "MNIST": Download(
        "MNIST",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        (tuple(f"MNIST/raw/{name}*" for name in _IDX_FILES),),
        f"MNIST/raw/ with {', '.join(_IDX_FILES)}, as they are or with .gz",
    ),
    "OxfordPets": Download(
        "Oxford-IIIT Pet",
        ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",),
        (("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"),),
        "oxford-iiit-pet/ with images/ and annotations/ of images.tar.gz and annotations.tar.gz",
    ),
    "VOCSegmentation": Download(
        "Pascal VOC 2012",
        ("https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",),
        (("VOCdevkit/VOC2012/SegmentationClass",),),
        "VOCdevkit/VOC2012/ of VOCtrainval_11-May-2012.tar",
    ),
}
"""By the name of the DataModule class."""


@contextmanager
def _data_filter() -> Iterator[None]:
    """Refuse members of tar archives that point outside of the folder, as Python 3.14 does by default (PEP 706)."""
    archives: Any = tarfile.TarFile
    name = "extraction_filter" if hasattr(tarfile, "data_filter") else "extract"  # Python before 3.11.4 has no filter
    before = getattr(archives, name)
    setattr(archives, name, staticmethod(tarfile.data_filter) if name == "extraction_filter" else _checking(before))
    try:
        yield
    finally:
        setattr(archives, name, before)


def _checking(extract: Callable[..., None]) -> Callable[..., None]:
    """`TarFile.extract` that accepts only files and folders below the path, which is all that these datasets have."""

    def extract_checked(self: tarfile.TarFile, member: Any, path: str = "", *args: Any, **options: Any) -> None:
        info = self.getmember(member) if isinstance(member, str) else member
        folder = Path(path).resolve()
        if not (info.isfile() or info.isdir()) or not (folder / info.name).resolve().is_relative_to(folder):
            raise tarfile.TarError(f"{info.name!r} is not a file or folder below {path}")
        extract(self, info, path, *args, **options)

    return extract_checked


def unreachable(urls: Sequence[str]) -> str | None:
    """Why no address answers within 3 s; None as soon as one does."""
    reasons: dict[str, str] = {}
    answered = threading.Event()

    def probe(url: str) -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=_PATIENCE_S).close()
            answered.set()
        except urllib.error.HTTPError:
            answered.set()  # the server exists; whether it has the file, the download will show
        except (OSError, ValueError) as error:
            reasons[url] = str(getattr(error, "reason", error))

    # In threads, because urlopen's timeout does not limit the wait for a name server.
    for url in urls:
        threading.Thread(target=probe, args=(url,), daemon=True).start()
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and len(reasons) < len(urls):
        if answered.wait(0.02):
            return None
    return "; ".join(sorted(set(reasons.values()))) or f"no answer in {_PATIENCE_S:g} s"
