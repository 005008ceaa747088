"""Reads tensors from a weight file. Nothing is unpickled without weights_only."""

import warnings
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


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a backbone.

    Args:
        path: A .safetensors file, a .pth (a state dict, or a checkpoint that holds one), a .ckpt of an
            earlier run (its `backbone.` tensors), or a timm local-dir folder (its model.safetensors).

    Returns:
        Tensors on the CPU by name, without the prefixes that DDP, torch.compile and a run add.

    Raises:
        MissingFileError: If there is no such file.
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


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read {path}: truncated, or not a safetensors file ({error})") from error


def _read_pickle(path: Path) -> Any:
    if path.suffix not in PICKLE_SUFFIXES:
        expected = ", ".join((".safetensors", *PICKLE_SUFFIXES))
        raise InputError(f"{path} is no weight file: expected one of {expected}, or a timm local-dir folder")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle's protocol; what cannot be read is an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a broken file torch.load raises a dozen unrelated types
        raise InputError(
            f"cannot read {path}: truncated, not a PyTorch weight file, or it holds Python objects, which "
            f"are never loaded because they can run code ({loading_fault(error)})"
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
