"""Features of frozen backbones in files: computed once for each sample, read by later epochs and runs."""

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import timm
import torch
from torch import Tensor, nn

from visiontasks import __version__
from visiontasks.caches import folder_size
from visiontasks.finetuning.feature_folders import (
    LOCK,
    describe,
    features_folder,
    is_of_features,
    locked,
    remove_folder,
    try_lock,
)
from visiontasks.finetuning.feature_store import View, row_bytes

GB = 10**9


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
        about: Whose features they are, see `feature_folders.describe`.

    Raises:
        OSError: If the folder cannot be made or locked.
    """

    def __init__(self, name: str, max_bytes: int, about: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder = features_folder() / name
        self.max_bytes = max_bytes
        self._views: dict[str, View] = {}
        with locked(self.folder.parent):
            self.folder.mkdir(exist_ok=True)
            self._lock: IO[str] = (self.folder / LOCK).open("w")
            self.is_ours = try_lock(self._lock)
            if self.is_ours:
                if about:
                    describe(self.folder, about)
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
        with locked(self.folder.parent):
            if not self.has_room(view.size * row_bytes(entries)):
                return False
            view.create(entries)
        return True

    def has_room(self, more_bytes: int) -> bool:
        """Whether so many more bytes fit, removing others' files if necessary."""

        def fits() -> bool:
            return used + more_bytes <= self.max_bytes and more_bytes <= shutil.disk_usage(self.folder).free

        own = folder_size(self.folder)
        others = [path for path in self.folder.parent.iterdir() if path != self.folder and is_of_features(path)]
        others.sort(key=lambda path: path.stat().st_mtime)
        used = own + sum(map(folder_size, others))
        while others and own + more_bytes <= self.max_bytes and not fits():
            used -= remove_folder(others.pop(0))
        return fits()

    def close(self) -> None:
        """Release the lock."""
        for view in self._views.values():
            view.close()
        self._views.clear()
        self._lock.close()


def _processor() -> list[str]:
    """The processor's name and the instructions that libraries may use, by which they choose their kernels."""
    info = Path("/proc/cpuinfo")
    lines = (
        info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else [platform.processor()]
    )
    names = [line for line in lines if line.startswith("model name")] or lines
    return [*names[:1], torch.backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA", "")]
