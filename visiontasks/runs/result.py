"""Schema of a run's result.json, checked when it is read. Imports nothing heavy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from visiontasks.errors import InputError

_LARGEST = 2**63  # larger values are not counts, and overflow as floats


@dataclass(frozen=True)
class _Each:
    """A mapping with values of one kind, and any names or some."""

    kind: Any
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Pair:
    """A list of two."""

    kind: Any


_NUMBER, _FINITE, _COUNT = "a number", "a finite number", "a whole number"
_TEXT, _OR_NULL = "a text", " or null"
_SPLITS = ("train", "val", "test")

# A name that ends in ? may be missing. A list is of one kind; a tuple lists choices.
_RESULT: dict[str, Any] = {
    "recipe?": _TEXT,
    "task?": _TEXT,
    "seed?": _COUNT,
    "split?": ("val", "test"),
    "samples?": {"evaluated": _COUNT, "of": _COUNT},
    "metrics?": _Each({"value": _NUMBER, "n": _COUNT, "count?": _COUNT, "interval95?": _Pair(_NUMBER)}),
    "class_metrics?": _Each(_Each(f"{_NUMBER}{_OR_NULL}")),
    "resumed_at_step?": f"{_COUNT}{_OR_NULL}",
    "chosen_by?": {"monitor": _TEXT, "value?": f"{_NUMBER}{_OR_NULL}"},
    "wall_s?": _FINITE,
    "fit_s?": _FINITE,
    "phases?": [{"epochs": _Pair(_COUNT), "trained_stages": _COUNT, "wall_s": _FINITE, "image_side?": _COUNT}],
    "time?": _Each(_FINITE),
    "precision?": _TEXT,
    "data?": {
        "splits": _Each(_COUNT, _SPLITS),
        "skipped?": _Each(_COUNT),
        "classes?": [_TEXT],
        "warnings?": [_TEXT],
        "class_counts?": {"unit": _TEXT, "splits": _Each([_COUNT], _SPLITS), "sampled?": _Each(_COUNT, _SPLITS)},
    },
    "calibration?": {
        "temperature": _FINITE,
        "fitted_on": _COUNT,
        "split": ("val", "test"),
        "n": _COUNT,
        "before": {"ece": _NUMBER, "log_loss": _NUMBER},
        "after": {"ece": _NUMBER, "log_loss": _NUMBER},
        "sets": [
            {
                "promised": _FINITE,
                "value": _NUMBER,
                "count": _COUNT,
                "n": _COUNT,
                "interval95": _Pair(_NUMBER),
                "mean_size": _NUMBER,
            }
        ],
    },
    "baseline?": {"name": _TEXT, "meaning?": _TEXT, "metrics": _Each(_NUMBER)},
    "versions?": _Each(_TEXT),
    "hardware?": {"platform?": _TEXT, "machine?": _TEXT, "threads?": _COUNT, "gpus?": [_TEXT]},
    "finished?": _TEXT,
}


def check_result(content: Any, path: Path, *, needed: Sequence[str] = ()) -> None:
    """Check what was read from a result.json.

    Args:
        content: Of the file.
        path: The file, for the message.
        needed: Keys that must not be missing, dotted.

    Raises:
        InputError: With the first key that is missing, or whose value is of another kind.
    """
    missing = [f"{key} is missing" for key in needed if _value(content, key) is None]
    fault = next(iter([*_faults(content, _RESULT, ""), *missing]), None)
    if fault:
        raise InputError(f"{path}: {fault}, as finetune writes it; copy the file again, or train the recipe again")


def _value(content: Any, key: str) -> Any:
    for name in key.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _faults(value: Any, kind: Any, key: str) -> Iterator[str]:
    """What is wrong with a value and those in it."""
    if isinstance(kind, str | tuple):
        if not _is_of(value, kind):
            yield f"{key} is {value!r:.60}, expected {kind if isinstance(kind, str) else ' or '.join(kind)}"
        return
    is_list = isinstance(kind, list | _Pair)
    if not isinstance(value, list if is_list else Mapping) or (isinstance(kind, _Pair) and len(value) != 2):
        what = "two numbers" if isinstance(kind, _Pair) else "a list" if is_list else "keys with values"
        yield f"{key or 'the content'} is {value!r:.60}, expected {what}"
        return
    for name, entry, each in _entries(value, kind):
        if isinstance(kind, _Each) and kind.names and name not in kind.names:
            yield f"{key} has {name!r:.60}, expected {', '.join(kind.names)}"
        yield from _faults(entry, each, f"{key}.{name}" if key else name)


def _entries(value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """Names, values and kinds of what is in a list or mapping."""
    if isinstance(kind, _Each):
        yield from ((name, entry, kind.kind) for name, entry in value.items())
    elif isinstance(kind, list | _Pair):
        each = kind[0] if isinstance(kind, list) else kind.kind
        yield from ((str(i), entry, each) for i, entry in enumerate(value))
    else:
        for name, each in kind.items():
            key = name.removesuffix("?")
            if key in value or key == name:
                yield key, value.get(key), each


def _is_of(value: Any, kind: str | tuple[str, ...]) -> bool:
    if isinstance(kind, tuple):
        return value in kind
    if kind == _TEXT:
        return isinstance(value, str)
    if value is None:
        return kind.endswith(_OR_NULL)
    kind = kind.removesuffix(_OR_NULL)
    is_count = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
    if kind == _COUNT or is_count:
        return is_count
    return isinstance(value, float) and (kind != _FINITE or isfinite(value))
