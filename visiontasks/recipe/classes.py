"""Which classes a recipe may name. Nothing else that it names is ever called: no function, no class of another kind."""

import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch import nn
from torch.optim import Optimizer

from visiontasks import data, tasks
from visiontasks.data import DataModule
from visiontasks.data.pipeline.transforms import TRANSFORM_TYPES
from visiontasks.errors import InputError
from visiontasks.recipe import class_name
from visiontasks.recipe.errors import explain_import
from visiontasks.tasks import Schedule, Task
from visiontasks.tasks.base import default_optimizer

KINDS: tuple[type, ...] = (
    *(Task, DataModule, nn.Module, Optimizer, Schedule, *TRANSFORM_TYPES),
    *(Callback, Logger, Profiler, Strategy, Accelerator, Precision, CheckpointIO, ClusterEnvironment, LayerSync),
)
"""A recipe may name their subclasses."""


def check_sections(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse an abstract task or dataset before its missing arguments are reported.

    Args:
        content: What `read_recipe` gave.
        overrides: `--key value` or `--key=value`.

    Raises:
        InputError: If it is abstract.
    """
    for section, module in (("model", tasks), ("data", data)):
        named = getattr(module, class_name(content, overrides, section), None)
        if inspect.isclass(named) and _is_abstract(named):
            values = [getattr(module, name) for name in dir(module)]
            kinds = [value for value in values if inspect.isclass(value) and issubclass(value, named)]
            names = ", ".join(sorted(value.__name__ for value in kinds if not _is_abstract(value)))
            raise InputError(f"{section}.class_path: {_abstract(named)}; expected one of {names}")


def check_classes(config: Namespace) -> None:
    """Refuse a parsed recipe that would run anything but classes of the known kinds, wherever it names it.

    jsonargparse checks an argument's type, but makes any class, and accepts any function, where an argument may be
    anything, as in the keyword arguments of a logger.

    Args:
        config: The parsed recipe, before anything of it is made.

    Raises:
        InputError: If it names a function, or a class of another kind or one that is not complete.
    """
    for key, value in _values(config, ""):
        if key == "config":  # the recipe's own path
            continue
        if isinstance(value, Mapping | Namespace):
            _check_class(f"{key}.class_path", value["class_path"])
        elif callable(value) and value is not default_optimizer and not isinstance(value, Enum):
            name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
            raise InputError(
                f"{key}: {name} is a function or similar, which a recipe may not call; expected a class_path, "
                "such as AdamW for an optimizer"
            )


def _values(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Everything that names a class, and everything at the ends, with its key."""
    if isinstance(value, Mapping | Namespace):
        entries = value.items() if isinstance(value, Mapping) else vars(value).items()
        if "class_path" in value:
            yield key, value
        for name, entry in entries:
            yield from _values(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple | set):
        for entry in value:
            yield from _values(entry, key)
    else:
        yield key, value


def _check_class(key: str, class_path: Any) -> None:
    try:
        named = pkgutil.resolve_name(class_path)
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        reason = explain_import(str(error), str(class_path)) or f"{class_path!r} is not a class ({error})"
        raise InputError(f"{key}: {reason}") from error
    if not inspect.isclass(named) or not issubclass(named, KINDS):
        kinds = ", ".join(kind.__name__ for kind in KINDS)
        raise InputError(
            f"{key}: {class_path} is not a class that a recipe may name; expected a subclass of one of {kinds}"
        )
    if _is_abstract(named):
        raise InputError(f"{key}: {_abstract(named)}; expected a subclass of it")


def _is_abstract(named: type) -> bool:
    """Whether a method is missing, also where the metaclass does not record that."""
    return named in KINDS or any(
        getattr(inspect.getattr_static(named, name), "__isabstractmethod__", False) for name in dir(named)
    )


def _abstract(named: type) -> str:
    return f"{named.__name__} is abstract"
