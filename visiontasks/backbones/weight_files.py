"""Reads tensors from a weight file. Nothing is unpickled without weights_only."""

import argparse
import pathlib
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from timm.models import clean_state_dict
from torch import Tensor

from visiontasks.errors import InputError, MissingFileError, loading_fault

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
FOLDER_FILE = "model.safetensors"
RUN_PREFIX = "backbone."
# Values only, no code: timm's train.py saves its arguments in a checkpoint, Lightning a model's hyperparameters.
_HARMLESS: list[Any] = [argparse.Namespace, pathlib.PosixPath, pathlib.WindowsPath]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a backbone.

    Args:
        path: A .safetensors file, a .pth (a state dict, or a checkpoint that holds one, such as timm's
            model_best.pth.tar), a .ckpt of an earlier run (its `backbone.` tensors), or a timm local-dir
            folder (its model.safetensors). If it holds a moving average beside the weights, the average is read.

    Returns:
        Tensors on the CPU by name, without the prefixes that DDP, torch.compile and a run add.

    Raises:
        MissingFileError: If the file does not exist.
        InputError: If it is not a weight file, is truncated, or holds Python objects other than tensors.
    """
    if path.is_dir():
        path = path / FOLDER_FILE
    if not path.is_file():
        raise MissingFileError(f"no weight file {path}: give model.init_args.weights a file, 'hub' or 'none'")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    tensors = _tensors_in(content)
    if not tensors:
        raise InputError(f"{path} holds no tensors: expected a state dict, or a checkpoint with one")
    return tensors


def strip_prefix(tensors: Mapping[str, Tensor], names: Collection[str], path: Path) -> dict[str, Tensor]:
    """Strip the prefix of tensor names in the checkpoint of a module that holds the network ("model.").

    Args:
        tensors: From read_weights.
        names: All tensor names of the network. Where fewer than half of them follow a prefix, the file
            is in another format, and its names are returned unchanged.
        path: Their file, for messages.

    Returns:
        The tensors with the prefix, by the network's names; others (a loss, a head beside it) are left out.

    Raises:
        InputError: If there are two such networks (a student and a teacher).
    """
    counts = Counter(key.removesuffix(name) for key in tensors for name in _endings(key) if name in names)
    most = max(counts.values(), default=0)
    if most <= counts[""] or 2 * most < len(names):
        return dict(tensors)
    prefix, *others = sorted(found for found, count in counts.items() if count == most)
    if others:
        raise InputError(
            f"model.init_args.weights: {path} holds {1 + len(others)} networks, {', '.join((prefix, *others))}: "
            "expected one; save the state_dict of the one to use in a separate file"
        )
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _endings(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read {path}: truncated, or not a safetensors file ({error})") from error


def _read_pickle(path: Path) -> Any:
    if path.suffix not in PICKLE_SUFFIXES:
        expected = ", ".join((".safetensors", *PICKLE_SUFFIXES))
        raise InputError(f"{path} is not a weight file: expected one of {expected}, or a timm local-dir folder")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle's protocol; an unreadable file is an error anyway
            with torch.serialization.safe_globals(_HARMLESS):
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a broken file torch.load raises a dozen unrelated types
        raise InputError(
            f"cannot read {path}: truncated, not a PyTorch weight file, or it holds Python objects, which "
            f"are never loaded because they can run code ({loading_fault(error)}); where it was made, save the "
            "tensors alone: torch.save(model.state_dict(), 'weights.pth')"
        ) from error


def _tensors_in(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    tensors = clean_state_dict(tensors)
    of_run = {k.removeprefix(RUN_PREFIX): v for k, v in tensors.items() if k.startswith(RUN_PREFIX)}
    return of_run or tensors
