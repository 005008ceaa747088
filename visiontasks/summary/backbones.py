"""Facts about backbones by name: those that timm states, and those that take building a network without weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import timm
from timm.models import get_pretrained_cfg

from visiontasks.backbones import split_stages
from visiontasks.backbones.names import LOCAL_DIR, check_name, nearest
from visiontasks.errors import InputError
from visiontasks.summary.network import build_network, summarize_backbone

PACKAGE, LOCAL = "package", "local-dir"
"""Sources of weights that are neither a repository of the hub nor an address."""
UNTRAINED = ".untrained"
"""The tag in timm of a network without weights, which its name works without."""
_FIGURES: dict[tuple[Any, ...], "Figures | None"] = {}


class Facts(NamedTuple):
    """What is known of a backbone without building it.

    Args:
        name: As in `model.init_args.backbone`.
        image: Shape (C, H, W) of the images that its weights were trained with; None if it takes building.
        source: Of its weights: a repository of the hub, an address, "package" or "local-dir"; empty if it has none.
        same_network: Equal for names whose networks, and so whose figures, are the same.
    """

    name: str
    image: tuple[int, int, int] | None
    source: str
    same_network: tuple[Any, ...]


@dataclass(frozen=True)
class Figures:
    """What a network costs with its classifier, as `summarize_backbone` gives it, and how it is cut.

    Args:
        parameters: Weights and biases.
        multiply_adds: For one image of its own size.
        image: Shape (C, H, W).
        stages: How many there are for `finetune.last_stages`.
        strides: Pixels of the image between two positions of its feature maps, each once, finest first.
    """

    parameters: int
    multiply_adds: int
    image: tuple[int, int, int]
    stages: int
    strides: tuple[int, ...]


def find_backbones(patterns: Sequence[str]) -> list[Facts]:
    """Backbones by name, by a part of the name, or by a glob.

    Args:
        patterns: Whole names, parts of names, globs such as "mobilenetv3*", or local-dir:FOLDER; upper case of parts
            and globs is taken as lower case, which all names have.

    Raises:
        InputError: If nothing matches one of them; it names the nearest backbones.
        MissingFileError: If a local-dir folder is not there.
    """
    known = [name.removesuffix(UNTRAINED) for name in timm.list_models(include_tags=True)]
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern.startswith(LOCAL_DIR):
            check_name(pattern)
            found[pattern] = None
            continue
        matching = [pattern] if pattern in known else [name for name in known if _matches(name, pattern.lower())]
        if not matching:
            raise InputError(f"no backbone matches {pattern!r}{nearest(pattern, [*known, *timm.list_models()])}")
        found |= dict.fromkeys(matching)
    return [_facts(name) for name in found]


def figures(facts: Facts) -> Figures | None:
    """What a backbone costs; None where it cannot be followed without weights. Takes 0.2 to 2 s, once for a network."""
    if facts.same_network not in _FIGURES:
        _FIGURES[facts.same_network] = _compute(facts.name)
    return _FIGURES[facts.same_network]


def _compute(name: str) -> Figures | None:
    try:
        summary = summarize_backbone(name)
        backbone: Any = build_network(name, classifier=False)
    except InputError:
        return None
    info = getattr(backbone, "feature_info", None) or []
    strides = dict.fromkeys(int(entry["reduction"]) for entry in getattr(info, "info", info))
    stages = len(split_stages(backbone))
    return Figures(summary.parameters, summary.multiply_adds, summary.image, stages, tuple(strides))


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def _facts(name: str) -> Facts:
    if name.startswith(LOCAL_DIR):
        return Facts(name, None, LOCAL, (name,))
    cfg = get_pretrained_cfg(name)
    if cfg is None:
        return Facts(name, None, "", (name,))
    channels, height, width = cfg.input_size
    source = PACKAGE if cfg.file else cfg.hf_hub_id or cfg.url or ""
    source = source if isinstance(source, str) else source[0]  # of repository and file
    return Facts(name, (channels, height, width), source, (cfg.architecture, cfg.num_classes, cfg.input_size))
