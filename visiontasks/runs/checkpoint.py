"""Checkpoint files: written whole or not at all, checked when read, never unpickled."""

import errno
import io
import os
import re
import secrets
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from visiontasks.errors import InputError, MissingFileError, loading_fault
from visiontasks.runs.provenance import ENTRY

UNFINISHED = ".tmp"
"""Suffix of a file that is being written."""
_OURS = re.compile(r".+\.visiontasks-(?P<process>\d+)-[0-9a-f]{16}\.tmp")
TRAINING_ONLY = ("optimizer_states", "current_model_state")
"""What only a training that goes on reads: two thirds of AdamW's checkpoint, and the weights that are averaged."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's way to checkpoint files: `write_checkpoint` and `read_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint whole or not at all."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint to the CPU, never with unpickling."""
        return read_checkpoint(Path(path))


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a file that holds either the former checkpoint or the new one, whenever the process or the machine dies.

    The new one is written beside it, brought to the disk, and renamed.

    Args:
        checkpoint: Tensors and plain values.
        path: The file; its folder is made.

    Raises:
        InputError: If the disk is full; the former file is as it was.
    """
    content = io.BytesIO()
    torch.save(checkpoint, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _replace(path, content.getbuffer())
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise InputError(
            f"{path} needs {content.tell() / 1e6:.1f} MB, but the disk is full ({error.strerror}). What was "
            "saved before is intact. Free space, then resume the run (--resume), or train into another folder"
        ) from error


def drop_training_state(path: Path) -> None:
    """Leave in a finished run's checkpoint what measures and predicts, so that it takes a third of the disk.

    Args:
        path: A whole checkpoint; afterwards no training can be resumed from it. It stays whole if the disk is full.
    """
    content = read_checkpoint(path)
    with suppress(InputError):  # the result is written, and a run does not fail for being larger than it could be
        write_checkpoint({key: value for key, value in content.items() if key not in TRAINING_ONLY}, path)


def is_resumable(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a training can go on from the content of a checkpoint."""
    return TRAINING_ONLY[0] in checkpoint


def write_through(path: Path, content: bytes | memoryview) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a small text file whole or not at all, also where others write the same one."""
    _replace(path, text.encode())


def unfinished(path: Path) -> Path:
    """A temporary name beside a file, unique to this process and call."""
    return path.with_name(f"{path.name}.visiontasks-{os.getpid()}-{secrets.token_hex(8)}{UNFINISHED}")


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files of processes that were killed while writing, and no other .tmp files."""
    for path in folder.glob(f"*{UNFINISHED}"):
        ours = _OURS.fullmatch(path.name)
        if ours and not _is_running(int(ours["process"])):
            path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a run's checkpoint, without unpickling anything but tensors and plain values.

    Every tensor's CRC-32, which torch writes into the file, is compared.

    Raises:
        MissingFileError: If it is missing.
        InputError: If it is truncated, altered, holds Python objects, or `finetune` did not make it; it names another
            checkpoint in the folder that is whole.
    """
    if not path.is_file():
        raise MissingFileError(f"no checkpoint {path}")
    try:
        return _read(path)
    except InputError as error:
        beside = [(other, _content(other)) for other in sorted(path.parent.glob("*.ckpt")) if other != path]
        whole = [(str(other), is_resumable(content)) for other, content in beside if content is not None]
        resumes = " (--resume takes it too)" if any(resumable for _, resumable in whole) else ""
        hint = f". {' and '.join(name for name, _ in whole)} beside it is whole{resumes}" if whole else ""
        raise InputError(f"{error}{hint}") from error


def read_any_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of any Lightning training, without unpickling anything but tensors and plain values.

    Raises:
        MissingFileError: If it is missing.
        InputError: If it is truncated, altered, holds Python objects, or has no weights.
    """
    if not path.is_file():
        raise MissingFileError(f"no checkpoint {path}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} cannot be read: it is empty (0 bytes)")
    with path.open("rb") as file:
        try:
            altered = zipfile.ZipFile(file).testzip()
        except Exception as error:  # zipfile raises a dozen types on a damaged file
            raise InputError(f"{path} cannot be read: truncated, altered, or not a checkpoint ({error})") from error
    if altered:
        raise InputError(f"{path} was altered: the checksum of its part {altered} is wrong")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything from EOFError to UnpicklingError
        raise InputError(
            f"{path} cannot be read: not a checkpoint, or it holds Python objects, which are never loaded because they "
            f"can run code ({loading_fault(error)})"
        ) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise InputError(f"{path} is not a visiontasks checkpoint: give a run that `finetune` made")
    return state


def _replace(path: Path, content: bytes | memoryview) -> None:
    beside = unfinished(path)
    try:
        write_through(beside, content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _is_running(process: int) -> bool:
    """Whether another process of this number runs on this machine."""
    if process == os.getpid():
        return False
    if sys.platform == "win32":  # where os.kill has no harmless signal
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> dict[str, Any]:
    state = read_any_checkpoint(path)
    if ENTRY not in state:
        raise InputError(f"{path} is not a visiontasks checkpoint: give a run that `finetune` made")
    return state


def _content(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds; None if it cannot be read."""
    try:
        return _read(path)
    except InputError:
        return None


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk; not every system has folders that can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
