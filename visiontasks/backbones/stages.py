"""A backbone cut into stages, shallow to deep, for freezing and for learning rates by depth."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from visiontasks.library_internals import uncompiled

TINY_SHARE = 0.01  # timm's tails have up to 0.9 % (norms, a neck, a layer before the classifier) or from 2 % on


@dataclass(frozen=True)
class Stage:
    """Consecutive modules of a backbone.

    Attributes:
        name: The module of feature_info that ends the stage ("layer1", "features.9"), or "tail" for what
            comes after the last of them.
        modules: Each counted without its children, which are listed themselves: only its direct parameters
            and buffers belong to it.
    """

    name: str
    modules: tuple[nn.Module, ...]

    def parameters(self) -> list[nn.Parameter]:
        """Direct parameters of the stage's modules, each once."""
        found = {id(p): p for module in self.modules for p in module.parameters(recurse=False)}
        return list(found.values())

    @property
    def num_parameters(self) -> int:
        """Number of scalars in the stage's parameters."""
        return sum(p.numel() for p in self.parameters())


def split_stages(backbone: nn.Module) -> list[Stage]:
    """Cut a timm backbone (either view) after each module that feature_info names.

    The order is that of `backbone.named_modules()`. What comes before the first boundary (the stem, and the
    root's own cls_token and pos_embed) belongs to the first stage; what comes after the last one is a stage
    "tail". A stage without parameters (a pool, the end of the network) is joined to the one before it. So is
    a tiny last stage, such as the final norm of a vision transformer: one without a weight matrix or
    convolution, or with less than 1 % of the backbone's parameters. A backbone without feature_info is a
    single "tail". One that torch.compile wraps is cut as without.

    Returns:
        Stages from shallow to deep, each with parameters; every module of the backbone is in exactly one.
    """
    backbone = uncompiled(backbone)
    modules = dict(backbone.named_modules())
    names = list(modules)
    stages: list[Stage] = []
    start = 0
    for boundary in [*_boundaries(backbone, modules), ("tail", len(names))]:
        name, end = boundary
        if end > start:
            stages.append(Stage(name, tuple(modules[n] for n in names[start:end])))
            start = end
    return _join_tiny_end(_join_empty(stages))


def stage_outputs(backbone: nn.Module) -> dict[str, nn.Module]:
    """The modules that feature_info names, whose outputs are feature maps, by its names, shallow to deep.

    What a view has dropped is left out; a backbone without feature_info has none. Of one that torch.compile wraps they
    are those within.
    """
    backbone = uncompiled(backbone)
    modules = dict(backbone.named_modules())
    return {name: modules[in_view] for name, in_view in _named(backbone, modules)}


def _named(backbone: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """The names in feature_info, and under which ones a view has these modules."""
    feature_info: Any = getattr(backbone, "feature_info", None) or []
    entries: Iterable[dict[str, Any]] = getattr(feature_info, "info", feature_info)
    for entry in entries:
        name = _name_in_view(entry.get("module", ""), modules)
        if name is not None:
            yield entry["module"], name


def _boundaries(backbone: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, int]]:
    """The names in feature_info, and how many modules there are up to the last descendant of each."""
    for name, in_view in _named(backbone, modules):
        yield name, 1 + max(i for i, n in enumerate(modules) if f"{n}.".startswith(f"{in_view}."))


def _join_empty(stages: list[Stage]) -> list[Stage]:
    joined = stages[:1]
    for stage in stages[1:]:
        if stage.parameters() and joined[-1].parameters():
            joined.append(stage)
        else:
            name = joined[-1].name if joined[-1].parameters() else stage.name
            joined[-1] = Stage(name, joined[-1].modules + stage.modules)
    return joined


def _join_tiny_end(stages: list[Stage]) -> list[Stage]:
    """Training only the deepest stage must train more than a norm."""
    total = sum(stage.num_parameters for stage in stages)
    while len(stages) > 1 and _is_tiny(stages[-1], total):
        *others, before, last = stages
        stages = [*others, Stage(before.name, before.modules + last.modules)]
    return stages


def _is_tiny(stage: Stage, total: int) -> bool:
    has_matrix = any(parameter.ndim > 1 for parameter in stage.parameters())
    return not has_matrix or stage.num_parameters < TINY_SHARE * total


def _name_in_view(name: str, modules: Mapping[str, nn.Module]) -> str | None:
    """The name under which a features_only wrapper holds a module of the original network.

    timm's wrappers hold the network as `body` or `model`, or flatten its first Sequential level ("features.9"
    becomes "features_9"). None where the wrapper has dropped the module.
    """
    candidates = (name, f"body.{name}", f"model.{name}", name.replace(".", "_", 1))
    return next((candidate for candidate in candidates if name and candidate in modules), None)
