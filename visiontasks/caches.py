"""Folders of what is cached on this machine, and whether they hold a network's weights. Imports nothing heavy."""

import os
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = "VISIONTASKS_CACHE"
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pth", "*.pt", "*.npz")


def own_folder() -> Path:
    """The folder that VISIONTASKS_CACHE names, or `visiontasks` in the user's cache."""
    return Path(os.environ.get(FOLDER) or _users() / "visiontasks")


def hub_folder() -> Path:
    """Where huggingface_hub puts its downloads, as its constants give it (huggingface_hub 1.21, constants.py)."""
    home = Path(os.environ.get("HF_HOME") or _users() / "huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub").expanduser()


def torch_folder() -> Path:
    """Where torch.hub puts its downloads, as `torch.hub.get_dir` gives it."""
    return Path(os.environ.get("TORCH_HOME") or _users() / "torch").expanduser() / "hub" / "checkpoints"


def has_download(source: str) -> bool:
    """Whether the weights of a network were downloaded before.

    Args:
        source: A repository of the Hugging Face hub, owner/name, or an address.
    """
    if "://" in source:
        return (torch_folder() / Path(urlsplit(source).path).name).is_file()
    snapshots = hub_folder() / f"models--{source.partition('@')[0].replace('/', '--')}" / "snapshots"
    return any(path.is_file() for kind in WEIGHT_FILES for path in snapshots.glob(f"*/{kind}"))


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder, 0 where it is missing; of a file that others remove meanwhile none."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += 0 if path.is_symlink() or not path.is_file() else path.stat().st_size
        except FileNotFoundError:
            continue
    return size


def _users() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
