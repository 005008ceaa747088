"""Finds the weights of a timm name: inside this package, in the download caches, or on the network."""

import hashlib
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from huggingface_hub import constants, try_to_load_from_cache
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, split_model_name_tag

from visiontasks.errors import InputError, MissingFileError

PROBE_SECONDS = 3.0
GATEWAY_ERRORS = (502, 503, 504)


def find_weights(name: str) -> Path | None:
    """Find the pretrained weights of a timm name on this machine.

    Returns:
        The file in this package or in a download cache; None if timm has to download it, which the network
        allows.

    Raises:
        InputError: If the name has no pretrained weights, or those in the cache are damaged.
        MissingFileError: Within 5 s, if they are not on this machine and cannot be downloaded.
    """
    cfg = get_pretrained_cfg(name)
    if cfg is None or not (cfg.file or cfg.url or cfg.hf_hub_id):
        raise InputError(_no_weights(name))
    if cfg.file:
        return Path(cfg.file)
    cached = next((path for path in _cached_files(cfg) if path.is_file()), None)
    if cached is not None:
        check_digest(cached)
        return None if cfg.custom_load else cached
    reason = _unreachable(constants.ENDPOINT if cfg.hf_hub_id else str(cfg.url))
    if reason:
        raise missing_weights(name, reason)
    return None


def check_download(name: str) -> None:
    """Check the digest of what timm has just downloaded; timm itself compares the size only.

    Raises:
        InputError: If the digest differs from the one in the name.
    """
    cfg = get_pretrained_cfg(name)
    for path in _cached_files(cfg) if cfg is not None else ():
        if path.is_file():
            check_digest(path)


def check_digest(path: Path) -> None:
    """Compare a download's SHA-256 with the one in its name: the hub's cache and torchvision's addresses have it.

    Raises:
        InputError: If it is another one; a name without a digest passes.
    """
    named = re.fullmatch(r"([0-9a-f]{64})", path.resolve().name) or re.search(r"-([0-9a-f]{8,64})\.\w+$", path.name)
    if named is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(named[1]):
        raise InputError(
            f"{path} is damaged or was altered: its SHA-256 is {digest}, expected {named[1]}; remove {path.resolve()} "
            "and run again to download it again, or give model.init_args.weights a file"
        )


def missing_weights(name: str, reason: str) -> MissingFileError:
    """The error for weights that are not on this machine and cannot be downloaded, with three ways out."""
    cfg = get_pretrained_cfg(name)
    if cfg is not None and cfg.hf_hub_id:
        repo = cfg.hf_hub_id.split("@")[0]
        folder = f"{constants.HF_HUB_CACHE}/models--{repo.replace('/', '--')}"
        put = f"`hf download {repo}` on a machine with network, and copy that folder here as {folder}"
    else:
        url = cfg.url if cfg is not None else ""
        folder = f"{torch.hub.get_dir()}/checkpoints"
        put = f"download {url} elsewhere and put the file into {folder}"
    return MissingFileError(
        f"no weights for {name}: not in {folder}, and not downloadable ({reason}). Ways out:\n"
        "  - give a file: model.init_args.weights = a .safetensors, .pth or timm local-dir folder\n"
        "  - run a recipe that needs no network: digits_resnet\n"
        f"  - {put}"
    )


def _no_weights(name: str) -> str:
    architecture = split_model_name_tag(name)[0]
    cfgs = get_arch_pretrained_cfgs(architecture)
    tags = [tagged for tagged, cfg in cfgs.items() if cfg.has_weights]
    known = f"use one of {', '.join(tags[:10])}" if tags else f"no tag of {architecture} has any"
    return f"{name} has no pretrained weights: {known}, or set model.init_args.weights to 'none' or a file"


def _cached_files(cfg: Any) -> Iterator[Path]:
    """The places where timm's own download would have left the weights."""
    if cfg.hf_hub_id:
        repo, _, revision = cfg.hf_hub_id.partition("@")
        name = cfg.hf_hub_filename or "pytorch_model.bin"
        safe = "model.safetensors" if name == "pytorch_model.bin" else f"{Path(name).stem}.safetensors"
        for candidate in (safe, name):
            found = try_to_load_from_cache(repo, candidate, revision=revision or None)
            if isinstance(found, str):
                yield Path(found)
    elif isinstance(cfg.url, str):
        yield Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(cfg.url).path).name)


def _unreachable(url: str) -> str:
    """Why the server of a URL cannot be reached, or "" if it answers.

    The request runs in a thread, because the name lookup of a machine without network can take longer than any socket
    timeout.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    parts = urlsplit(url)
    site = f"{parts.scheme}://{parts.netloc}"
    result = [f"{site} did not answer within {PROBE_SECONDS:.0f} s"]

    def request() -> None:
        result[0] = _probe(site)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS + 0.5)
    return result[0]


def _probe(site: str) -> str:
    try:
        urllib.request.urlopen(urllib.request.Request(site, method="HEAD"), timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:
        return f"{site}: {error}" if error.code in GATEWAY_ERRORS else ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return "" if isinstance(reason, ssl.SSLError) else f"{site}: {reason}"
    return ""
