"""Keys of a recipe and types of their values, from the source of the classes that have them, which is not imported.

A wrong key is found in milliseconds so. What is not found here (nested keys, other people's classes, values that are no
numbers or choices) the recipe's parser reports a few seconds later, in the same words.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from visiontasks.errors import InputError
from visiontasks.recipe.aliases import SECTIONS, WHOLE_KEYS
from visiontasks.recipe.files import class_name

PACKAGE = Path(__file__).parents[1]
MAX_LISTED_NAMES = 20
NOT_IN_A_RECIPE = frozenset(
    (
        *("self", "args", "kwargs", "params", "defaults"),
        *("in_features", "num_classes", "num_boxes", "channels", "reductions", "seed"),
    )
)
"""Arguments that a constructor does not get from the recipe."""
LINKED = {
    "model.num_classes": "it comes from the data",
    "model.image_size": "it comes from data.init_args.image_size",
    "data.seed": "it comes from seed_everything",
}
"""Keys that cannot be set, and where their values come from."""
ABSTRACT = ("Task", "DataModule")
"""Classes that cannot be made, which the recipe's parser answers."""
_WITHOUT_TYPE = ("class_path", "init_args", "dict_kwargs", "classifier")
_ALIAS = re.compile(r"^([A-Z]\w+) = (Literal\[.+\].*)$", re.MULTILINE)
_SIMPLE = {"int": int, "float": float, "bool": bool, "str": str, "None": type(None)}


def check_keys(content: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Check the keys of a recipe and of overrides, and values that are numbers, texts or choices.

    Args:
        content: What `read_recipe` gave.
        overrides: `--key` and value in turn.

    Raises:
        InputError: If one is unknown, with near ones, or has a value of another type.
    """
    known = {section: _arguments_of(section, content, overrides) for section in SECTIONS}
    for key, value in [*_written(content, overrides), *_typed(overrides)]:
        _check(key, value, known, content, overrides)


def near(name: str, names: Iterable[str]) -> str:
    """Names near to an unknown one, or all of a few, to follow a message."""
    # a known name that was refused belongs to another kind of class, or to a parent only
    known = sorted(set(names) - {name})
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f": did you mean {either(close)}?"
    return f": known are {', '.join(known)}" if 0 < len(known) <= MAX_LISTED_NAMES else ""


def either(words: list[str]) -> str:
    """Words joined by commas and `or`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@cache
def argument_types(folder: Path, name: str) -> Mapping[str, str] | None:
    """Arguments of a class's constructor and of the parents that it passes others to.

    Args:
        folder: Where its source lies, at any depth.
        name: Of the class.

    Returns:
        Annotations by name, choices spelled out; None if the class is not in the folder.
    """
    defined = _definition(folder, name)
    if defined is None:
        return None
    init = next((node for node in defined.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    own = [*init.args.args, *init.args.kwonlyargs] if init else []
    found = {arg.arg: _spelled_out(ast.unparse(arg.annotation)) if arg.annotation else "Any" for arg in own}
    if init is None or init.args.kwarg is not None:
        for parent in defined.bases:
            found = {**(argument_types(folder, ast.unparse(parent)) or {}), **found}
    return found


def _check(
    key: str,
    value: Any,
    known: Mapping[str, Mapping[str, str] | None],
    content: Mapping[str, Any],
    overrides: Sequence[str],
) -> None:
    section, _, rest = key.partition(".")
    if section not in SECTIONS:
        if section not in WHOLE_KEYS:
            paths = [f"{name}.{each}" for name in ("trainer", "finetune") for each in known[name] or ()]
            raise InputError(f"unknown key {key}{near(key, [*paths, *SECTIONS, *WHOLE_KEYS])}")
        return
    arguments, name = known[section], rest.partition(".")[0]
    if arguments is None or not rest or name in _WITHOUT_TYPE or f"{section}.{name}" in LINKED:
        return
    if name not in arguments or name in NOT_IN_A_RECIPE:
        of_class = f" ({class_name(dict(content), overrides, section)})" if section in ("model", "data") else ""
        raise InputError(f"unknown key {name} in {section}{of_class}{near(name, {*arguments} - NOT_IN_A_RECIPE)}")
    if name == rest and (fault := _type_fault(arguments[name], value)):
        init = ".init_args" if section in ("model", "data") else ""
        raise InputError(f"{section}{init}.{name}: {fault}")


def _written(content: Mapping[str, Any], overrides: Sequence[str]) -> Iterable[tuple[str, Any]]:
    """Keys of a recipe down to the arguments of each section, with their values."""
    for section, part in content.items():
        arguments = part.get("init_args") if section in ("model", "data") and isinstance(part, dict) else part
        if section not in SECTIONS:
            first = next(iter(arguments), "") if isinstance(arguments, dict) else ""
            yield f"{section}.{first}" if first else str(section), None
        elif isinstance(arguments, dict) and _class_place(section, overrides) is None:
            yield from ((f"{section}.{key}", value) for key, value in arguments.items())


def _typed(overrides: Sequence[str]) -> Iterable[tuple[str, Any]]:
    """Keys of overrides, with their values."""
    for i, (word, text) in enumerate(zip(overrides, [*overrides, ""][1:], strict=True)):
        key, equals, given = word.removeprefix("--").partition("=")
        if word.startswith("--") and i >= (_class_place(key.partition(".")[0], overrides) or 0):
            yield key.replace(".init_args", ""), _parsed(given if equals else text)


def _class_place(section: str, overrides: Sequence[str]) -> int | None:
    """Where overrides set the class of a section, with which the arguments before are dropped."""
    names = (f"--{section}", f"--{section}.class_path")
    return max((i for i, word in enumerate(overrides) if word.partition("=")[0] in names), default=None)


def _arguments_of(section: str, content: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, str] | None:
    """Names of a section's arguments with their annotations; None if its class is not one of ours."""
    if section == "trainer":
        place = find_spec("lightning")
        folders = list(place.submodule_search_locations or ()) if place else []
        arguments = argument_types(Path(folders[0], "pytorch", "trainer"), "Trainer") if folders else None
        return None if arguments is None else {**arguments, "compile": "bool", "precision": "Any"}
    if section == "finetune":
        return argument_types(PACKAGE / "finetuning", "FinetuneSchedule")
    folder, name = PACKAGE / {"model": "tasks", "data": "data"}[section], class_name(dict(content), overrides, section)
    return None if name in ABSTRACT else argument_types(folder, name)


def _spelled_out(annotation: str) -> str:
    """An annotation with the choices in place of their name."""
    return re.sub(r"\b[A-Z]\w+\b", lambda name: _choices().get(name[0], name[0]), annotation)


@cache
def _choices() -> Mapping[str, str]:
    """What our names of choices stand for, such as Resize."""
    found: dict[str, str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        for name, text in _ALIAS.findall(file.read_text(encoding="utf-8")):
            found[name] = text if found.get(name, text) == text else name  # two of one name are left alone
    return found


def _definition(folder: Path, name: str) -> ast.ClassDef | None:
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if re.search(rf"^class {re.escape(name)}\b", text, re.MULTILINE):
            nodes = ast.parse(text).body
            return next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name)
    return None


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _type_fault(annotation: str, value: Any) -> str:
    """What is wrong with a value; empty if nothing is, or if the annotation allows more than numbers and choices."""
    optional = re.fullmatch(r"Optional\[(.*)\]", annotation)
    parts = [*re.split(r" \| ", optional[1]), "None"] if optional else re.split(r" \| ", annotation)
    choices = [
        choice
        for part in parts
        if (literal := re.fullmatch(r"Literal\[(.*)\]", part))
        for choice in ast.literal_eval(f"({literal[1]},)")
    ]
    plain = [part for part in parts if not part.startswith("Literal[")]
    # YAML 1.1 reads off as false
    is_choice = value in choices or (isinstance(value, bool) and value in map(_parsed, map(str, choices)))
    if not all(part in _SIMPLE for part in plain) or "str" in plain or is_choice:
        return ""
    if any(_is(value, _SIMPLE[part]) for part in plain):
        return ""
    names = [*map(repr, choices), *("null" if part == "None" else part for part in plain)]
    expected = either(sorted(dict.fromkeys(names), key="null".__eq__))
    return f"expected {expected}, got {value!r:.80}"


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
            return True  # YAML 1.1 reads 1e-3 as text, the recipe's parser as a number
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
