"""Fits a recipe to what was typed: sizes that follow the image size, epochs of a short training, a quick run."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from visiontasks.recipe.files import init_arg, last_given

_OF_THE_IMAGE = ("RandomCrop", "CenterCrop", "Crop")
"""Transforms that cut a part out: unless images keep their size, it is a part of the image, not the network's input."""
QUICK_BATCHES, QUICK_IMAGES = 3, 8
_QUICK = {
    "trainer.max_epochs": "1",
    "trainer.check_val_every_n_epoch": "1",
    "trainer.limit_train_batches": str(QUICK_BATCHES),
    "trainer.limit_val_batches": "2",
    "trainer.limit_test_batches": "2",
    "finetune.freeze_epochs": "0",
    "finetune.cache_features": "off",
}


def quick_overrides(content: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Overrides for a run that only shows whether everything works: one epoch on a few images, all of it trained.

    Args:
        content: What `read_recipe` gave.
        overrides: `--key` and value in turn; what they set stays.
    """
    size = init_arg(content, (), "data", "batch_size")
    values = {**_QUICK, "data.batch_size": str(min(QUICK_IMAGES, size) if isinstance(size, int) else QUICK_IMAGES)}
    left = {key: value for key, value in values.items() if _given(overrides, key) is None}
    return [*overrides, *(word for key, value in left.items() for word in (f"--{key}", value))]


def fitted(content: dict[str, Any], overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Change what the recipe sets besides the keys that were typed, so that both fit.

    Args:
        content: What `read_recipe` gave.
        overrides: `--key` and value in turn.

    Returns:
        The overrides with what was changed, and a line for each change.
    """
    more: list[str] = []
    notes: list[str] = []
    for change in (_augment(content, overrides), _validations(content, overrides), _frozen(content, overrides)):
        if change is not None:
            more += change[:2]
            notes.append(change[2])
    return [*overrides, *more], notes


def _augment(content: dict[str, Any], overrides: Sequence[str]) -> tuple[str, str, str] | None:
    """The augmentation at the image size, where the recipe has it at its own."""
    given = _given(overrides, "data.image_size")
    own, augment = (init_arg(content, (), "data", name) for name in ("image_size", "augment"))
    was, now = _sides(own), _sides(_value(given))
    if was is None or now is None or was == now or not augment or _given(overrides, "data.augment") is not None:
        return None
    keeps = init_arg(content, overrides, "data", "resize") == "keep"
    resized = _resized(augment, was, now, keeps)
    if resized == augment:
        return None
    names = ", ".join(dict.fromkeys(_changed(augment, resized)))
    return "--data.augment", json.dumps(resized), f"augmentation at {now[0]}x{now[1]} pixels too ({names})"


def _resized(value: Any, was: tuple[int, int], now: tuple[int, int], keeps: bool) -> Any:
    if isinstance(value, list):
        return [_resized(each, was, now, keeps) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _resized(each, was, now, keeps) for key, each in value.items()}
    options = found.get("init_args")
    name = str(found.get("class_path", "")).rpartition(".")[2]
    if not isinstance(options, dict) or (name in _OF_THE_IMAGE and not keeps and not options.get("pad_if_needed")):
        return found
    options = dict(options)
    if _sides(options.get("size")) == was:
        options["size"] = list(now)
    if (options.get("height"), options.get("width")) == was:
        options |= {"height": now[0], "width": now[1]}
    return {**found, "init_args": options}


def _changed(before: Any, after: Any) -> list[str]:
    """Names of the transforms that differ, the innermost."""
    pairs = zip(before, after, strict=True) if isinstance(before, list) else ()
    names: list[str] = []
    for old, new in pairs:
        if old != new:
            inner = _changed(old["init_args"].get("transforms"), new["init_args"].get("transforms"))
            names += inner or [str(old["class_path"]).rpartition(".")[2]]
    return names


def _validations(content: Mapping[str, Any], overrides: Sequence[str]) -> tuple[str, str, str] | None:
    """A validation at the end of a training that is shorter than the recipe's distance between two."""
    every = _set(content, overrides, "trainer", "check_val_every_n_epoch")
    epochs = _set(content, overrides, "trainer", "max_epochs")
    is_own = _given(overrides, "trainer.check_val_every_n_epoch") is None
    if not (is_own and isinstance(every, int) and isinstance(epochs, int) and 1 <= epochs < every):
        return None
    note = f"validated every {f'{epochs} epochs' if epochs > 1 else 'epoch'}, not every {every} epochs as in the recipe"
    return "--trainer.check_val_every_n_epoch", str(epochs), note


def _frozen(content: Mapping[str, Any], overrides: Sequence[str]) -> tuple[str, str, str] | None:
    """Fewer frozen epochs, by the recipe's share, where a shorter training would be frozen to its end."""
    epochs = _value(_given(overrides, "trainer.max_epochs"))
    own = _set(content, (), "trainer", "max_epochs")
    freezes = _set(content, (), "finetune", "freeze_epochs")
    is_own = _given(overrides, "finetune.freeze_epochs") is None and _given(overrides, "finetune.unfreeze") is None
    if not (is_own and all(isinstance(each, int) for each in (epochs, own, freezes)) and 0 < epochs <= freezes < own):
        return None
    scaled = min(round(freezes * epochs / own), epochs - 1)
    when = f"after epoch {scaled}" if scaled else "from the start"
    note = f"the backbone is trained {when}, in the recipe after epoch {freezes} of {own} (--freeze-epochs)"
    return "--finetune.freeze_epochs", str(scaled), note


def _set(content: Mapping[str, Any], overrides: Sequence[str], section: str, name: str) -> Any:
    given = _value(_given(overrides, f"{section}.{name}"))
    own = content.get(section)
    return own.get(name) if given is None and isinstance(own, dict) else given  # it may name another file


def _given(overrides: Sequence[str], key: str) -> str | None:
    section, _, name = key.partition(".")
    return last_given(overrides, f"--{key}", f"--{section}.init_args.{name}")


def _value(text: str | None) -> Any:
    try:
        return None if text is None else yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _sides(size: Any) -> tuple[int, int] | None:
    """Height and width of a size in a recipe, an int or two; None for anything else."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return None
