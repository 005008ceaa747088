"""Whether a backbone is known and its weights are here or can be downloaded, from sources and folders alone.

timm, which knows this for certain, takes seconds to import. So what is refused here is certain, and what is doubtful
passes to `visiontasks.backbones.check_weights`.
"""

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from visiontasks.downloads import unreachable
from visiontasks.errors import InputError, MissingFileError

BACKBONES = Path(__file__).parents[1] / "backbones"
_REGISTERED = re.compile(r"@register_model\s+def (\w+)")
_SHIPPED_WAY = "--backbone resnet20_cifar.vt_cifar10 --image-size 32 (shipped with the package)"


def check_name(name: str) -> None:
    """Refuse a backbone that is unknown.

    Args:
        name: A timm name, with or without a tag.

    Raises:
        InputError: If it is unknown; with near ones.
    """
    architecture = name.partition(".")[0]
    names, text = _known()
    if name.startswith("local-dir:") or not names or architecture in names:
        return
    if not re.search(rf"\b{re.escape(architecture)}\b", text):
        near = get_close_matches(architecture, names, n=3, cutoff=0.6)
        hint = f"did you mean {', '.join(near)}?" if near else "`visiontasks backbones PATTERN` lists them"
        raise InputError(f"unknown backbone {name!r}; {hint}")


def check_pretrained(name: str) -> None:
    """Refuse a backbone that is unknown, or whose weights are neither here nor to be had.

    Args:
        name: A timm name, with or without a tag.

    Raises:
        InputError: If the name is unknown; with near ones.
        MissingFileError: If there is no network, and nothing on this machine can be its weights.
    """
    if name.startswith("local-dir:"):
        return
    check_name(name)
    architecture = name.partition(".")[0]
    if _may_be_here(architecture):
        return
    reason = "HF_HUB_OFFLINE is set" if _is_offline() else unreachable([_endpoint()])
    if reason:
        raise MissingFileError(
            f"no weights for {name} on this machine, and {_endpoint()} cannot be reached ({reason}): give --weights a "
            f"file (.safetensors, .pth) or a timm local-dir folder, or take {_SHIPPED_WAY}, or copy the folder that "
            f"`hf download timm/{name}` makes on another machine into {_hub_cache()}/"
        )


@cache
def _known() -> tuple[frozenset[str], str]:
    """Names of networks in timm's source and ours, and the source itself, which has old names too."""
    place = find_spec("timm")
    folders = (
        [BACKBONES, *(Path(folder, "models") for folder in (place.submodule_search_locations or ()))] if place else []
    )
    text = "".join(file.read_text(encoding="utf-8") for folder in folders for file in sorted(folder.glob("*.py")))
    return frozenset(_REGISTERED.findall(text)), text


def _may_be_here(architecture: str) -> bool:
    ours = any(architecture in _REGISTERED.findall(file.read_text(encoding="utf-8")) for file in BACKBONES.glob("*.py"))
    return ours or any(True for folder in _hub_cache().glob(f"models--*--{architecture}*")) or any(_loose(architecture))


def _loose(architecture: str) -> Iterator[Path]:
    """Files of torch's own cache that may be a network's."""
    home = Path(
        os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    ).expanduser()
    return (home / "hub" / "checkpoints").glob(f"*{architecture.removeprefix('tv_')[:5]}*")


def _hub_cache() -> Path:
    """Where huggingface_hub stores what it downloads."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(given or Path(home, "hub")).expanduser()


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _is_offline() -> bool:
    switches = [os.environ.get(name, "").upper() for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")]
    return any(switch in ("1", "TRUE", "YES", "ON") for switch in switches)
