"""The arguments that a task was made with, as plain values, so that a checkpoint of any trainer can be opened again."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from visiontasks import heads
from visiontasks.errors import InputError
from visiontasks.runs.checkpoint import read_any_checkpoint
from visiontasks.runs.folder import BEST
from visiontasks.runs.provenance import ENTRY
from visiontasks.tasks.calibration import Calibration

TASK, CALIBRATION = "visiontasks_task", "visiontasks_calibration"
"""Keys of a checkpoint."""
_HEADS = "visiontasks.heads."
Kind = TypeVar("Kind", bound=nn.Module)


def plain_arguments(init: Callable[..., None], task: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Arguments of a constructor that a checkpoint can store.

    Args:
        init: The constructor.
        task: Its `self`.
        args: What it is called with.
        kwargs: The same.

    Returns:
        `init_args` by name, a head of this package as its class_path; `left_out`, names of those without a plain value.
    """
    given = dict(list(inspect.signature(init).bind_partial(task, *args, **kwargs).arguments.items())[1:])
    extra = given.pop("kwargs", {})
    given |= extra if isinstance(extra, dict) else {}
    stored = {name: _stored(value) for name, value in given.items()}
    plain = {name: value for name, value in stored.items() if is_plain(value)}
    return {"init_args": plain, "left_out": sorted(given.keys() - plain.keys())}


def is_plain(value: Any) -> bool:
    """Whether a checkpoint stores a value without pickling."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    return value is None or isinstance(value, str | int | float | bool)


def from_checkpoint(kind: type[Kind], path: Path, arguments: Mapping[str, Any]) -> Kind:
    """Make a task from a checkpoint, see `visiontasks.tasks.Task.load_from_checkpoint`."""
    if path.is_dir():
        raise InputError(
            f"{path} is a folder: visiontasks.open_run({str(path)!r}) opens a run, {kind.__name__}."
            f"load_from_checkpoint takes a file such as {path / BEST}"
        )
    checkpoint = read_any_checkpoint(path)
    stored = stored_arguments(checkpoint, path)
    if stored["class_path"] != class_path(kind):
        raise InputError(f"{path} is of {stored['class_path']}, not of {class_path(kind)}: load it by its own class")
    task = kind(**{**restored(stored["init_args"]), "weights": "none", **arguments})
    load_weights(task, checkpoint, path, left_out=stored["left_out"])
    return task


def class_path(kind: type) -> str:
    """As a recipe spells it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def restored(init_args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as a constructor takes them: heads by their class."""
    return {
        name: getattr(heads, value["class_path"].removeprefix(_HEADS)) if _is_head(value) else value
        for name, value in init_args.items()
    }


def stored_arguments(checkpoint: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The entry `TASK` of a checkpoint.

    Raises:
        InputError: If it is missing or damaged.
    """
    stored = checkpoint.get(TASK)
    needed = {"class_path", "init_args", "left_out", "mean", "std"}
    if not isinstance(stored, Mapping) or not needed <= stored.keys() or "backbone" not in stored["init_args"]:
        if ENTRY in checkpoint:
            raise InputError(
                f"{path} is of a run of an older version, visiontasks.open_run({str(path.parent.parent)!r}) opens it: "
                "its `model` is the network; Predictor.load takes the folder too"
            )
        raise InputError(
            f"{path} does not store what its task was made with (backbone, number of classes, head): an older version "
            "wrote it, or it is of another kind of module. Make task and data as for the training, then "
            "task.load_state_dict(torch.load(path, weights_only=True)['state_dict']) and Predictor.of(task, data)"
        )
    return stored


def restore_calibration(task: Any, checkpoint: Mapping[str, Any]) -> None:
    """Give a task the calibration that a checkpoint stores beside the weights; None of one that stores none."""
    stored = checkpoint.get(CALIBRATION)
    task.calibration = None if stored is None else Calibration.from_json(stored)


def load_weights(task: nn.Module, checkpoint: Mapping[str, Any], path: Path, *, left_out: Sequence[str]) -> None:
    """Load a checkpoint's weights, and their calibration, into its task.

    Args:
        task: As it was made anew.
        checkpoint: With `state_dict`.
        path: The checkpoint, for the message.
        left_out: Names of arguments that the checkpoint does not store.

    Raises:
        InputError: If they do not fit.
    """
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        given = [name for name in left_out if name.endswith("head")]
        way = f"; it was made with its own {' and '.join(given)}, which a checkpoint does not store" if given else ""
        raise InputError(
            f"the weights of {path} do not fit {type(task).__name__}{way}: pass the arguments as in the training, "
            f"{type(task).__name__}.load_from_checkpoint(path, {given[0] if given else 'head'}=...) ({error})"
        ) from error
    restore_calibration(task, checkpoint)


def _stored(value: Any) -> Any:
    name = getattr(value, "__name__", "")
    if name in heads.__all__ and getattr(heads, name) is value:
        return {"class_path": f"{_HEADS}{name}"}
    return list(value) if isinstance(value, tuple) else value


def _is_head(value: Any) -> bool:
    path = value.get("class_path") if isinstance(value, Mapping) else None
    return isinstance(path, str) and path.removeprefix(_HEADS) in heads.__all__
