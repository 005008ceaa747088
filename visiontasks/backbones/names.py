"""Checks a backbone's name before anything is built or downloaded, and proposes the nearest ones."""

import difflib
import json
from pathlib import Path
from typing import Any

import timm
from timm.models import get_arch_pretrained_cfgs, is_model, split_model_name_tag

from visiontasks.errors import InputError, MissingFileError

LOCAL_DIR = "local-dir:"


def check_name(name: str) -> None:
    """Check that timm can build `name`: an architecture, architecture.tag, or local-dir:FOLDER.

    Raises:
        InputError: If the architecture or the tag is unknown; the message has the nearest names.
        MissingFileError: If a local-dir folder has no config.json.
    """
    architecture = architecture_of(name)
    if not is_model(architecture):
        raise InputError(f"unknown backbone {name!r} (model.init_args.backbone){nearest(name, _all_names())}")
    tagged = list(get_arch_pretrained_cfgs(architecture))
    if not name.startswith(LOCAL_DIR) and split_model_name_tag(name)[1] and name not in tagged:
        shown = ", ".join(tagged[:10]) or "none"
        raise InputError(
            f"unknown tag in backbone {name!r} (model.init_args.backbone){nearest(name, tagged)}; "
            f"tags of {architecture}: {shown}"
        )


def architecture_of(name: str) -> str:
    """The timm architecture of a name, read from config.json for local-dir:FOLDER.

    Raises:
        InputError: If config.json cannot be read or names no architecture.
        MissingFileError: If config.json does not exist.
    """
    if not name.startswith(LOCAL_DIR):
        return str(split_model_name_tag(name)[0])
    folder = Path(name.removeprefix(LOCAL_DIR))
    architecture = _read_config(folder).get("architecture")
    if not isinstance(architecture, str):
        raise InputError(f"{folder / 'config.json'} has no 'architecture': expected a timm local-dir folder")
    return architecture


def nearest(name: str, candidates: list[str]) -> str:
    """The nearest of some names, as the end of a message."""
    matches = difflib.get_close_matches(name, candidates, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(matches)}?" if matches else "; timm.list_models() lists the known ones"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise MissingFileError(
            f"no {path}: expected a timm local-dir folder (config.json and model.safetensors) as "
            "model.init_args.weights, or after local-dir: in model.init_args.backbone"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} holds a {type(config).__name__}, expected a JSON object")
    return config


def _all_names() -> list[str]:
    return sorted({*timm.list_models(), *timm.list_models(include_tags=True)})
