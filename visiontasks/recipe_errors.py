"""What is wrong with a recipe or an override, in plain words: the key, what was got, what was expected, near names."""

import inspect
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

import torch
from jsonargparse import ArgumentParser

from visiontasks import data, heads, tasks
from visiontasks.errors import InputError

MAX_LINES = 4
MAX_LISTED_NAMES = 20
NOISE = ("Subtypes:", "Given value", "Does not validate", "Errors:", "Problem with given class_path", "Parser key")


def explain(error: Exception, parser: ArgumentParser) -> str:
    """Say in a few lines what jsonargparse or a constructor found wrong.

    Args:
        error: What parsing or instantiation raised.
        parser: Its keys are what an unknown one is compared with.
    """
    for cause in _causes(error):
        if isinstance(cause, InputError):
            return str(cause)
    message = str(error)
    key = ".".join(dict.fromkeys(re.findall(r'[Pp]arser key "([^"]+)"', message)))
    if match := re.search(r"unrecognized arguments: --([\w.+]+)|Key '([\w.]+)' is not expected", message):
        unknown = match[1] or match[2]
        return f"unknown key {unknown}{_near(unknown, _keys(parser))}"
    if match := re.search(r"(?:Option|Key|Group) '([\w.]+)' is not accepted", message):
        classes = re.findall(r"class_path '([\w.]+)'", message)
        return f"unknown key {match[1]} in {key or 'the recipe'}{_near(match[1], _arguments(classes[-1:]))}"
    if match := re.search(r"Expected a dot import path string: (\S+)", message):
        return f"unknown name {match[1]!r} for {key}{_near(match[1], _class_names())}"
    if match := re.search(r'Key "([\w.]+)" is required', message):
        return f"the recipe lacks {match[1]}: add it, or give --{match[1]} on the command line"
    return _shorten(message, key)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _near(name: str, names: Iterable[str]) -> str:
    known = sorted(set(names))
    near = get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return f": did you mean {', '.join(near)}?"
    return f": there are {', '.join(known)}" if 0 < len(known) <= MAX_LISTED_NAMES else ""


def _keys(parser: ArgumentParser) -> list[str]:
    return [action.dest for action in parser._actions]


def _arguments(class_paths: list[str]) -> list[str]:
    """Keyword arguments of classes, their parents' too."""
    names: list[str] = []
    for path in class_paths:
        module = __import__(path.rpartition(".")[0], fromlist=["_"])
        for parent in getattr(module, path.rpartition(".")[2]).__mro__:
            names += [
                name for name in inspect.signature(parent.__init__).parameters if name not in ("self", "args", "kwargs")
            ]
    return names


def _class_names() -> list[str]:
    optimizers = [name for name in dir(torch.optim) if name[0].isupper()]
    return [*data.__all__, *data.transform_names(), *tasks.__all__, *heads.__all__, *optimizers]


def _shorten(message: str, key: str) -> str:
    given = re.search(r"^\s*Given value: (.{1,80})|Got value: (.{1,80})", message, re.MULTILINE)
    lines = [line.strip(" -") for line in message.splitlines()]
    reasons = [re.sub(r"\. Got value: .*", "", line) for line in lines if line and not line.startswith(NOISE)]
    reasons = list(dict.fromkeys(re.sub(r"<class '(\w+)'>", r"\1", reason) for reason in reasons))[:MAX_LINES]
    expected = "; ".join(reasons).replace("NoneType", "null").replace("typing.Literal", "one of ")
    got = f", got {given[1] or given[2]}" if given else ""
    return f"{key}: {expected}{got}" if key else f"{expected}{got}"
