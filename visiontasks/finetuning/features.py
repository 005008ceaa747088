"""Features of frozen backbones in files: computed once for each sample, read by later epochs and runs."""

import hashlib
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import timm
import torch
from torch import Tensor, nn

from visiontasks import __version__
from visiontasks.finetuning.feature_store import View, row_bytes

if sys.platform != "win32":
    import fcntl

FOLDER = "VISIONTASKS_CACHE"
LOCK = "lock"
GB = 10**9
LOCK_TIMEOUT_S = 10.0


def features_folder() -> Path:
    """The folder of all features: below the one that VISIONTASKS_CACHE names, or in the user's cache."""
    named = os.environ.get(FOLDER)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named or Path(home) / "visiontasks") / "features"


def fingerprint(backbone: nn.Module, modules: Iterable[nn.Module], facts: Iterable[Any]) -> str:
    """A name for a backbone's features: a hash of its structure, weights and buffers, and of all else they depend on.

    Args:
        backbone: The network.
        modules: Those of its modules whose weights and buffers count, each without its children.
        facts: Preprocessing, data, precision, versions: anything whose `repr` is complete.
    """
    found = hashlib.blake2b(repr(backbone).encode(), digest_size=16)
    for module in modules:
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            found.update(name.encode())
            found.update(tensor.detach().reshape(-1).view(torch.uint8).cpu().numpy().data)
    for fact in facts:
        found.update(repr(fact).encode())
    return found.hexdigest()


def facts(trainer: Any, module: nn.Module, data: Any) -> list[Any]:
    """Everything besides the network that its features depend on, to the last bit.

    Args:
        trainer: Lightning's.
        module: The task.
        data: Its data module.
    """
    device = trainer.strategy.root_device
    return [
        *(data.fingerprint("train"), data.fingerprint("val")),
        *(getattr(module, "in_chans", None), getattr(module, "is_compiled", False), trainer.precision),
        *(__version__, torch.__version__, timm.__version__, torch.get_num_threads(), str(device)),
        torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        *(buffer.tolist() for name, buffer in module.named_buffers() if name in ("mean", "std")),
    ]


class FeatureFiles:
    """Features of one backbone on one dataset: a folder that a single process reads and writes.

    Args:
        name: See `fingerprint`.
        max_bytes: Limit of the size of all such folders; the least recently used ones are removed.

    Raises:
        OSError: If the folder cannot be made or locked.
    """

    def __init__(self, name: str, max_bytes: int) -> None:
        self.folder = features_folder() / name
        self.max_bytes = max_bytes
        self._views: dict[str, View] = {}
        with _locked(self.folder.parent):
            self.folder.mkdir(exist_ok=True)
            self._lock: IO[str] = (self.folder / LOCK).open("w")
            self.is_ours = _try_lock(self._lock)
            if self.is_ours:
                os.utime(self.folder)

    def view(self, name: str, size: int) -> "View":
        """The rows of a split under one augmentation; its samples number `size`."""
        if name not in self._views:
            view = self._views[name] = View(self.folder / name, size)
            if view.damage:
                print(f"{view.folder}: {view.damage}; computed again", flush=True)
        return self._views[name]

    def create(self, view: "View", entries: Mapping[str, Tensor]) -> bool:
        """Make a view's files, removing others' if necessary; False if the limit or the disk leaves no room.

        Raises:
            OSError: If they cannot be written.
        """
        with _locked(self.folder.parent):
            if not self.has_room(view.size * row_bytes(entries)):
                return False
            view.create(entries)
        return True

    def has_room(self, more_bytes: int) -> bool:
        """Whether so many more bytes fit, removing others' files if necessary."""

        def fits() -> bool:
            return used + more_bytes <= self.max_bytes and more_bytes <= shutil.disk_usage(self.folder).free

        own = _size(self.folder)
        others = [path for path in self.folder.parent.iterdir() if path != self.folder and _is_ours(path)]
        others.sort(key=lambda path: path.stat().st_mtime)
        used = own + sum(map(_size, others))
        while others and own + more_bytes <= self.max_bytes and not fits():
            used -= _remove(others.pop(0))
        return fits()

    def close(self) -> None:
        """Release the lock."""
        for view in self._views.values():
            view.close()
        self._views.clear()
        self._lock.close()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock for making and removing folders of features.

    Raises:
        OSError: If the folder cannot be written, or another process does not release the lock in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.{LOCK}").open("w") as lock:
        end = time.monotonic() + LOCK_TIMEOUT_S
        while not _try_lock(lock):
            if time.monotonic() > end:
                raise TimeoutError(f"another process holds {lock.name} for more than {LOCK_TIMEOUT_S:g} s")
            time.sleep(0.001)
        yield


def _try_lock(file: IO[str]) -> bool:
    if sys.platform == "win32":
        raise OSError("no file locks on Windows")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _is_ours(path: Path) -> bool:
    """Whether a folder holds features, also half removed ones; a user's own folder does not."""
    return path.is_dir() and (re.fullmatch("[0-9a-f]{32}", path.name) is not None or (path / LOCK).is_file())


def _remove(folder: Path) -> int:
    """Remove features that no process uses.

    Returns:
        Bytes that were removed.
    """
    size = _size(folder)
    try:
        with (folder / LOCK).open("w") as lock:
            if not _try_lock(lock):
                return 0
            shutil.rmtree(folder)
    except OSError:
        return size - _size(folder)
    return size


def _processor() -> list[str]:
    """The processor's name and the instructions that libraries may use, by which they choose their kernels."""
    info = Path("/proc/cpuinfo")
    lines = (
        info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else [platform.processor()]
    )
    names = [line for line in lines if line.startswith("model name")] or lines
    return [*names[:1], torch.backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA", "")]
