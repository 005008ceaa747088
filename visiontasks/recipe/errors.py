"""Explains what is wrong with a recipe or an override: the key, the value, what was expected, similar names."""

import inspect
import re
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, callbacks, loggers

from visiontasks import data, heads, tasks
from visiontasks.errors import InputError
from visiontasks.recipe.keys import NOT_IN_A_RECIPE, either, near

MAX_LINES = 4
NOISE = ("Subtypes:", "Given value", "Does not validate", "Errors:", "Problem with given class_path", "Parser key")
"""How lines begin that do not help a person who writes recipes."""
# jsonargparse raises one argparse.ArgumentError whatever is wrong; what it found is in the text alone (4.41 to 4.53).
# tests/recipe/test_errors.py makes each of these errors and names the pattern that no longer fits.
PATTERNS = {
    "key": r'[Pp]arser key "([^"]+)"',
    "not an option": r"[Uu]nrecognized arguments: (\S+)",
    "not in a section": r"Group '(\w+)' does not accept (?:option|nested key) '([\w.]+)'",
    "not in a class": r"(?:Option|Key) '([\w.]+)' is not (?:accepted|expected)",
    "class of the key": r"given class_path '([\w.]+)'",
    "class in a value": r"Got value: Namespace\(class_path='([\w.]+)'",
    "missing": r'arguments are required: (\w+(?:\.\w+)*)|Key "([\w.]+)" is required',
    "type": r"Expected an? (?:<class '[\w.]*?(\w+)'>|typing\.(Literal)\[(.*?)\](?=\. Got|\n|$))",
    "value": r"(?m)^\s*Given value: (.+)|Got value: (.+)",
    "class name": r"Expected a dot import path string: (\S+)",
    "no module": r"No module named '([\w.]+)'",
    "no name": r"module '([\w.]+)' has no attribute '(\w+)'",
    "refused class": r"(?:has no attribute|No module named) '[\w.]+'\. Got value: ([\w.]+)",
    "union": r"Does not validate against any of the Union subtypes",
    "class given": r"class_path='([\w.]+)'",
    "callable": r"Type \S.* expects a function or a callable class: ",
    "no class": r"Subclass types expect one of:(\n\s*- a .*)+",
    "not a mapping": r"'str' object has no attribute '(?:keys|__dict__)'",
}
"""What is looked for in jsonargparse's messages."""
SCALARS = ("int", "float", "str", "Literal")
KINDS: dict[str, tuple[ModuleType, type]] = {
    "model": (tasks, tasks.Task),
    "data": (data, data.DataModule),
    "optimizer": (torch.optim, torch.optim.Optimizer),
    "schedule": (tasks, tasks.Schedule),
    "callbacks": (callbacks, Callback),
    "logger": (loggers, loggers.Logger),
}


def explain(error: Exception, parser: ArgumentParser) -> str:
    """Explain in one line what jsonargparse found wrong with a recipe or an override.

    Args:
        error: Raised by parsing.
        parser: Has the keys that an unknown one is compared with.
    """
    message = str(error)
    key = ".init_args.".join(dict.fromkeys(re.findall(PATTERNS["key"], message)))
    return (
        _unknown_key(message, key, parser)
        or _missing_value(error)
        or _missing_key(message, key)
        or _missing_class(message, key)
        or _wrong_type(message, key)
        or _unknown_name(message, key)
        or _shorten(message, key)
    )


def explain_construction(error: Exception) -> str | None:
    """Explain which values of a class in a recipe are wrong.

    Args:
        error: Raised by constructing the recipe's objects.

    Returns:
        None if it is unknown whether the recipe's values are the cause.
    """
    for cause in _causes(error):
        if isinstance(cause, InputError):
            return str(cause)
    message = str(error)
    if not _find("union", message):
        return None
    made = _find("class given", message)
    name = made[1].rpartition(".")[2] if made else "a class in the recipe"
    for cause in _causes(error):
        if type(cause).__name__ == "ValidationError" and hasattr(cause, "errors"):  # pydantic's, in albumentations
            return f"wrong values for {name} (data.init_args.augment): {_list_invalid(cause.errors())}"
    return f"wrong values for {name}: {_shorten(message, '')}"


def explain_import(error: str, class_path: str) -> str | None:
    """Explain what of a class path is missing.

    Args:
        error: Has what Python answered to the import.
        class_path: What was to be imported.

    Returns:
        None if something else failed.
    """
    if match := _find("no module", error):
        return f"cannot import {class_path}: no module {match[1]} is installed or in a folder of PYTHONPATH"
    if match := _find("no name", error):
        return f"cannot import {class_path}: {match[1]} has no {match[2]}"
    return None


def _find(pattern: str, message: str) -> re.Match[str] | None:
    return re.search(PATTERNS[pattern], message)


def _unknown_key(message: str, key: str, parser: ArgumentParser) -> str | None:
    if match := _find("not an option", message):
        if not match[1].startswith("--"):
            return f"unexpected argument {match[1]!r}; overrides look like --trainer.max_epochs 3"
        return _unknown_path(match[1][2:].partition("=")[0], parser)
    if match := _find("not in a section", message):
        return _unknown_path(f"{match[1]}.{match[2]}", parser)
    if match := _find("not in a class", message):
        classes = re.findall(PATTERNS["class in a value"], message[match.end() :])[:1]
        classes = classes or re.findall(PATTERNS["class of the key"], message[: match.start()])[-1:]
        if not classes:
            return _unknown_path(match[1], parser)
        name = classes[0].rpartition(".")[2]
        return f"unknown key {match[1]} in {key or 'the recipe'} ({name}){near(match[1], _arguments(classes[0]))}"
    return None


def _unknown_path(path: str, parser: ArgumentParser) -> str:
    """An unknown key outside of classes: in the recipe itself, the trainer or finetune."""
    keys = list(parser.get_defaults(skip_validation=True).keys())
    known = [*keys, *(key.partition(".")[0] for key in keys)]
    section, _, name = path.rpartition(".")
    in_section = [key.removeprefix(f"{section}.") for key in known if key.startswith(f"{section}.")]
    if section and in_section:
        return f"unknown key {name} in {section}{near(name, in_section)}"
    return f"unknown key {path}{near(path, known)}"


def _missing_value(error: Exception) -> str | None:
    """An option at the end of the command line, or before another one: the only error that argparse itself finds."""
    options = [cause.argument_name for cause in _causes(error) if isinstance(cause, ArgumentError)]
    return next((f"{option} needs a value" for option in options if option), None)


def _missing_key(message: str, key: str) -> str | None:
    if match := _find("missing", message):
        name = match[1] or match[2]
        path = f"{key}.init_args.{name}" if key else name
        return (
            f"{path} is missing from the recipe: add it, or set --{path.replace('.init_args', '')} on the command line"
        )
    return None


def _missing_class(message: str, key: str) -> str | None:
    """A class path whose module or class is missing, and classes that a recipe may name by name alone."""
    match = _find("no module", message) or _find("no name", message)
    if match is None:
        return None
    refused = _find("refused class", message)
    path = refused[1] if refused else re.findall(PATTERNS["class of the key"], message[: match.start()])[-1]
    names = get_close_matches(path.rpartition(".")[2], _class_names(key), n=3, cutoff=0.6)
    return f"{key}: {explain_import(match[0], path)}{f': did you mean {either(names)}?' if names else ''}"


def _wrong_type(message: str, key: str) -> str | None:
    """A value of a wrong type that is not a misspelt class: a scalar is expected, or the value is not text."""
    types = re.findall(PATTERNS["type"], message)
    expected = [choice for name, literal, choices in types for choice in _choices(name or literal, choices)]
    scalar = any((name or literal) in SCALARS for name, literal, _ in types)
    if set(expected) <= {"null"} or (_find("class name", message) and not scalar):
        return None
    got = _value(message)
    is_text = not re.match(r"[-+.\d{\[(]|Namespace|True$|False$|None$", got)
    given = (f", got {got[:80]!r}" if is_text else f", got {got[:80]}") if got else ""
    return f"{key}: expected {either(_null_last(expected))}{given}{_quoted(got, key, expected)}"


def _choices(name: str, choices: str) -> list[str]:
    return choices.split(", ") if name == "Literal" else ["null" if name == "NoneType" else name]


def _null_last(names: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(names), key="null".__eq__)  # the order that a union has depends on the version


def _value(message: str) -> str:
    match = _find("value", message)
    return (match[1] or match[2]).partition(". Got value: ")[0].strip() if match else ""


def _quoted(got: str, key: str, expected: Sequence[str]) -> str:
    """How to write text that YAML reads as another type: no, on, null, 1, 1e3."""
    if "list" in expected and not got.startswith("["):
        return """; a list is written '["cat", "dog"]'"""
    if "str" not in expected or not re.fullmatch(r"True|False|None|[-+.\d][\w.+-]*|datetime\..*", got):
        return ""
    example = """'["no", "yes"]'""" if key.endswith("classes") else """'"no"'"""
    option = f"--{key.replace('.init_args', '')} {example}"
    return f"; YAML reads no, yes, on, off, null and numbers as other types than text: quote them, {option}"


def _unknown_name(message: str, key: str) -> str | None:
    match = _find("class name", message)
    return f"unknown name {match[1]!r} for {key}{near(match[1], _class_names(key))}" if match else None


def _class_names(key: str) -> list[str]:
    """Class names that a recipe may use at a key."""
    last = key.rpartition(".")[2]
    if last == "augment":
        return data.transform_names()
    if last == "head":
        return list(heads.__all__)
    if last not in KINDS:
        return []
    module, base = KINDS[last]
    classes = {name: value for name in dir(module) if inspect.isclass(value := getattr(module, name))}
    return [
        name
        for name, value in classes.items()
        if issubclass(value, base) and value is not base and not inspect.isabstract(value)
    ]


def _arguments(class_path: str) -> list[str]:
    """Keyword arguments of a class and its parents that a recipe may set."""
    module, _, name = class_path.rpartition(".")
    made: type = getattr(import_module(module), name)
    parameters = {p for parent in made.__mro__ for p in inspect.signature(parent.__init__).parameters}  # type: ignore[misc]
    return sorted(parameters - NOT_IN_A_RECIPE)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _list_invalid(errors: list[dict[str, Any]]) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r:.40}" for e in errors[:MAX_LINES])


def _shorten(message: str, key: str) -> str:
    """Leave out lines that do not help a person who writes recipes."""
    message = re.sub(rf"{PATTERNS['key']}: (?=\S)|{PATTERNS['callable']}|{PATTERNS['no class']}", "", message)
    message = re.sub(PATTERNS["not a mapping"], "expected keys with values, like {name: value}", message)
    lines = [line.strip(" -") for line in message.splitlines()]
    reasons = [re.sub(r"\. Got value: .*", "", line) for line in lines if line and not line.startswith(NOISE)]
    text = "; ".join(list(dict.fromkeys(reasons))[:MAX_LINES])
    return f"{key}: {text}" if key else text
