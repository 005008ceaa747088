"""Errors of jsonargparse, explained to people who write recipes. The whole path is tested in test_cli.py."""

import re
from argparse import ArgumentError
from importlib.metadata import version
from typing import Any

import pytest
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import OptimizerCallable

from visiontasks.errors import InputError
from visiontasks.recipe.errors import NOISE, PATTERNS, explain, explain_construction

QUOTE = "YAML reads no, yes, on, off, null and numbers as other types than text: quote them,"
UNION = "Does not validate against any of the Union subtypes\nSubtypes: [...]\nErrors:\n  - "


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    """Keys of a trainer, and `rate` and `seed` beside it."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(Trainer, "trainer")
    parser.add_argument("--rate", type=float | None)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--names", type=list[str] | None)
    return parser


def explained(parser: ArgumentParser, *args: str) -> str:
    with pytest.raises(Exception) as error:  # noqa: PT011  jsonargparse's own choice
        parser.parse_args(list(args))
    return explain(error.value, parser)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--rte", "1"], "unknown key rte: did you mean rate?"),
        (["--rte=1"], "unknown key rte: did you mean rate?"),
        (
            ["--trainer.max_epoch", "1"],
            "unknown key max_epoch in trainer: did you mean max_epochs, min_epochs or max_steps?",
        ),
        (["--trainer.qqqqq", "1"], "unknown key qqqqq in trainer"),
        (["photos"], "unexpected argument 'photos'; overrides look like --trainer.max_epochs 3"),
        (["--rate"], "--rate needs a value"),
        (["--rate", "1"], "seed is missing from the recipe: add it, or set --seed on the command line"),
        (["--seed", "0", "--rate", "fast"], "rate: expected float or null, got 'fast'"),
        (["--seed", "1.5"], "seed: expected int, got 1.5"),
        (["--seed", "[1, 2]"], "seed: expected int, got [1, 2]"),
        (["--seed", "null"], "seed: expected int, got None"),
        (["--names", "[no, yes]"], f"names: expected str or null, got False; {QUOTE} --names '\"no\"'"),
        (["--names", "[a, 1]"], f"names: expected str or null, got 1; {QUOTE} --names '\"no\"'"),
        (["--names", "[null]"], f"names: expected str or null, got None; {QUOTE} --names '\"no\"'"),
        (["--names", "[1e3]"], f"names: expected str or null, got 1000.0; {QUOTE} --names '\"no\"'"),
        (["--names", "cat,dog"], """names: expected list or null, got 'cat,dog'; a list is written '["cat", "dog"]'"""),
    ],
)
def test_one_line_names_the_key_and_what_is_expected(args: list[str], expected: str, parser: ArgumentParser) -> None:
    assert explained(parser, *args) == expected


def in_class(key: str, problem: str) -> str:
    inner = f'Parser key "{key}":\n      {problem}'
    return f"Parser key \"model\":\n  Problem with given class_path 'visiontasks.X':\n    {inner}"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (in_class("lr", "Expected a <class 'float'>. Got value: x"), "model.init_args.lr: expected float, got 'x'"),
        (
            in_class("head", "Expected a dot import path string: LinerHead"),
            "unknown name 'LinerHead' for model.init_args.head: did you mean LinearHead",
        ),
        (
            in_class("thing", "Expected a dot import path string: Some"),
            "unknown name 'Some' for model.init_args.thing",
        ),
        (
            "Problem with given class_path 'visiontasks.data.Digits':\n  Option 'resise' is not accepted",
            "unknown key resise in the recipe (Digits): did you mean resize?",
        ),
        ("Option 'modle' is not accepted", "unknown key modle"),
        (
            in_class("head", "module 'visiontasks' has no attribute 'hd'. Got value: visiontasks.hd.MLPHed"),
            "model.init_args.head: cannot import visiontasks.hd.MLPHed: visiontasks has no hd: did you mean MLPHead",
        ),
        (
            "Parser key \"data\":\n  Problem with given class_path 'mine.Photos':\n    No module named 'mine'",
            "data: cannot import mine.Photos: no module mine is installed or in a folder of PYTHONPATH",
        ),
        ('Parser key "config": File does not exist: nowhere.yaml', "config: File does not exist: nowhere.yaml"),
        ("Something new\nGiven value type: int\nin two lines", "Something new; in two lines"),
    ],
)
def test_messages_are_distinguished(message: str, expected: str, parser: ArgumentParser) -> None:
    assert explain(ValueError(message), parser).startswith(expected)


def test_a_fallback_has_four_parts_at_most(parser: ArgumentParser) -> None:
    message = "\n".join(["a", "b", "a", "c", "d", "e", "f"])
    assert explain(ValueError(message), parser) == "a; b; c; d"


def test_our_own_errors_are_passed_on() -> None:
    error = ValueError("wrapped by jsonargparse")
    error.__cause__ = InputError("the cause")
    assert explain_construction(error) == "the cause"


def test_an_error_that_no_recipe_is_known_to_cause_is_not_explained() -> None:
    assert explain_construction(ValueError("index out of range")) is None


class ValidationError(ValueError):
    """As pydantic raises it in albumentations."""

    def errors(self) -> list[dict[str, Any]]:
        return [
            {"loc": ("height",), "msg": "Input should be greater than or equal to 1", "input": -1},
            {"loc": ("scale", 0), "msg": "Input should be a valid number", "input": "x"},
        ]


def test_wrong_values_of_a_transform_are_listed() -> None:
    error = ValueError(f"{UNION}...\nGiven value: [Namespace(class_path='albumentations.RandomCrop', init_args=...)]")
    error.__cause__ = ValidationError()
    assert explain_construction(error) == (
        "wrong values for RandomCrop (data.init_args.augment): height: Input should be greater than or equal to 1, "
        "got -1; scale.0: Input should be a valid number, got 'x'"
    )


def test_other_wrong_values_of_a_class_in_a_list_are_explained() -> None:
    error = ValueError(f"{UNION}every must be above 0\nGiven value: [Namespace(class_path='callbacks.Timer', ...)]")
    assert explain_construction(error) == "wrong values for Timer: every must be above 0"


EARLY = '{"class_path": "EarlyStopping", "init_args": '
FITTING = {  # arguments whose errors the pattern, or the beginning of a line, is for
    "key": ["--rate", "fast"],
    "not an option": ["--rte", "1"],
    "not in a section": ["--trainer", '{"max_epoch": 1}'],
    "not in a class": ["--callback", EARLY + '{"patienc": 1}}'],
    "class of the key": ["--callback", EARLY + '{"patienc": 1}}'],
    "class in a value": ["--optimizer", '{"class_path": "torch.optim.SGD", "init_args": {"lrr": 1}}'],
    "missing": ["--callback", EARLY + "{}}"],
    "type": ["--rate", "fast"],
    "value": ["--rate", "fast"],
    "class name": ["--callback", "EarlyStoping"],
    "no module": ["--callback", "nowhere.Stop"],
    "no name": ["--callback", "lightning.pytorch.nothing.Stop"],
    "refused class": ["--optimizer", "torch.nothing.Adam"],
    "union": ["--rate", "fast"],
    "callable": ["--optimizer", '{"class_path": "torch.optim.SGD", "init_args": {"lrr": 1}}'],
    "not a mapping": ["--callback", EARLY + '"x"}'],
    "Problem with given class_path": ["--callback", EARLY + '{"patienc": 1}}'],
} | {name: ["--rate", "fast"] for name in ("Subtypes:", "Given value", "Does not validate", "Errors:", "Parser key")}
WHEN_MADE = {"class given", "no class"}


@pytest.fixture(scope="module")
def any_parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(Trainer, "trainer", fail_untyped=False)
    parser.add_argument("--rate", type=float | None)
    parser.add_argument("--callback", type=Callback)
    parser.add_argument("--callbacks", type=list[Callback] | Callback | None)
    parser.add_argument("--optimizer", type=OptimizerCallable)
    return parser


def check_fits(name: str, message: str) -> None:
    pattern = PATTERNS.get(name, rf"(?m)^\W*{re.escape(name)}")
    message_of_failure = (
        f"jsonargparse {version('jsonargparse')}: {name!r} of visiontasks/recipe/errors.py no longer fits:\n{message}"
    )
    assert re.search(pattern, message), message_of_failure


@pytest.mark.parametrize("name", [name for name in (*PATTERNS, *NOISE) if name not in WHEN_MADE])
def test_patterns_fit_the_messages_of_the_installed_version(name: str, any_parser: ArgumentParser) -> None:
    with pytest.raises(ArgumentError) as error:
        any_parser.parse_args(FITTING[name])
    check_fits(name, str(error.value))


@pytest.mark.parametrize("name", sorted(WHEN_MADE))
def test_patterns_fit_the_messages_when_classes_are_made(name: str, any_parser: ArgumentParser) -> None:
    config = any_parser.parse_args(["--callbacks", f'[{EARLY}{{"monitor": "loss", "mode": "middle"}}}}]'])
    del config["trainer"]
    with pytest.raises(ValueError, match="`mode` can be min, max, got middle") as error:
        any_parser.instantiate_classes(config)
    check_fits(name, str(error.value))
