"""Reads what was typed: which command, its own options, recipe keys in any form, and the recipe for a folder."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from visiontasks import __version__
from visiontasks.commands.arguments import parsers
from visiontasks.commands.parser import Parser
from visiontasks.errors import InputError
from visiontasks.recipe import find_recipe, read_recipe, recipes_dir
from visiontasks.recipe.aliases import ALIASES, Option, check_answers, option_name, options_of, pairs
from visiontasks.recipe.choice import TASKS, choose, is_recipe
from visiontasks.recipe.files import value_at
from visiontasks.recipe.foreign import COMMAND_ANSWERS, COMMANDS
from visiontasks.recipe.typed import as_typed
from visiontasks.runs.folder import RECIPE, interrupted_run

SHORT_HELP = f"""visiontasks {__version__}: fine-tune pretrained vision models

  visiontasks finetune my_images                  train on a folder of images
  visiontasks finetune digits_resnet              try it: a minute, no download
  visiontasks predict runs/folder_resnet photos/  predict with the newest run

All commands: visiontasks --help. One of them: visiontasks finetune --help."""


@dataclass
class Typed:
    """What was typed, for messages.

    Args:
        options: Recipe keys.
        own_file: Whether the recipe is a file of the user's.
        renamed: Options of the command itself, with what was typed in their place, such as --output for --out.
    """

    options: list[Option] = field(default_factory=list)
    own_file: bool = False
    renamed: dict[str, str] = field(default_factory=dict)

    def name_keys(self, message: str) -> str:
        """A message with options and recipe keys as the user would change them."""
        for option, name in self.renamed.items():
            message = re.sub(rf"(?<![\w-]){option}(?![\w-])", name, message)
        return as_typed(message, self.options, own_file=self.own_file)


def read_words(words: Sequence[str], typed: Typed) -> argparse.Namespace:
    """Read a command line.

    Args:
        words: Without the program's name; at least one.
        typed: Where recipe keys are put.

    Returns:
        What the command takes. One that trains or checks images also has `recipe`, the path of a recipe's file, and
        `reasons`, lines that tell why it was chosen.

    Raises:
        InputError: If a word or value is wrong, in one line with the way out.
        SystemExit: After --help or --version.
    """
    whole, commands = parsers(_defaults(words))
    if words[0] not in whole.own and re.match(r"-{1,2}[A-Za-z]", words[0]):
        raise InputError(f"{words[0]}: expected a command first, such as visiontasks finetune my_images {words[0]} ...")
    if words[0] in whole.own:
        return whole.parse_args(words)
    command = _command(words[0], list(commands))
    parser, names, rest = commands[command], [command], list(words[1:])
    if parser.questions and rest and rest[0] not in parser.own:
        names.append(_question(rest.pop(0), command, list(parser.questions)))
        parser = parser.questions[names[-1]]
    own, positionals, others = _separated(rest, parser, typed)
    arguments, surplus = whole.parse_known_args([*names, *positionals, *own])
    command = " ".join(names)
    if surplus:
        raise InputError(f"visiontasks {command} does not take {' '.join(surplus)} (visiontasks {command} --help)")
    if others and not arguments.takes_overrides:
        name = next(iter(pairs(others)))[0] or others[0]
        near = get_close_matches(option_name(name), parser.own, n=1)
        hint = f"did you mean {near[0]}?" if near else f"visiontasks {command} --help lists its options"
        raise InputError(f"visiontasks {command} does not take {name.removesuffix('=')}: {hint}")
    typed.options = options_of(others)
    if "target" in arguments:
        _choose_recipe(arguments, typed)
    return arguments


def _typed_command(arguments: argparse.Namespace) -> str:
    return " ".join(["visiontasks", arguments.command, *filter(None, [getattr(arguments, "question", None)])])


def _defaults(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """For --help, the values of the recipe that is named, else of the one for class folders."""
    if not {"-h", "--help"} & set(words):
        return "", {}
    recipe = find_recipe(next(filter(is_recipe, words), TASKS["classification"][1]))
    content = read_recipe(recipe)
    unset = {"data.num_workers": "by the processor's cores", "trainer.accelerator": "auto"}
    keys = {alias.option: alias.key.partition(" ")[0] for alias in ALIASES}
    values = {option: value_at(content, key) for option, key in keys.items()}
    return recipe.stem, {
        option: unset.get(keys[option]) if value is None else value for option, value in values.items()
    }


def _command(word: str, commands: Sequence[str]) -> str:
    if word in commands:
        return word
    if word in COMMANDS:
        return COMMANDS[word]
    if word in COMMAND_ANSWERS:
        raise InputError(f"visiontasks {word}: {COMMAND_ANSWERS[word]}")
    if Path(word).is_dir() or (recipes_dir() / f"{word}.yaml").is_file():
        raise InputError(f"{word} is not a command: visiontasks finetune {word}")
    near = get_close_matches(word, [*commands, *COMMANDS], n=1, cutoff=0.7)
    hint = f"did you mean {COMMANDS.get(near[0], near[0])}?" if near else f"expected one of {', '.join(commands)}"
    raise InputError(f"{word!r} is not a command: {hint}")


def _question(word: str, command: str, known: Sequence[str]) -> str:
    if word in known:
        return word
    near = get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    raise InputError(f"visiontasks {command} {word}: {hint}")


def _separated(words: Sequence[str], parser: Parser, typed: Typed) -> tuple[list[str], list[str], list[str]]:
    """A command's own options, what is no option, and other options."""
    own: list[str] = []
    positionals: list[str] = []
    others: list[str] = []
    flags = [option for option, takes_value in parser.own.items() if not takes_value]
    for name, value in pairs(words, flags):
        if name is None:
            positionals.append(str(value))
            continue
        ours = name if name in parser.own else option_name(name)
        if ours in parser.own:
            typed.renamed |= {ours: name.removesuffix("=")} if name != ours else {}
            own += _own_words(ours, value, takes_value=parser.own[ours])
            continue
        check_answers(name)
        if value is None:
            others.append(name)
        else:
            others += [f"{name}{value}"] if name.endswith("=") else [name, value]
    return own, positionals, others


def _own_words(option: str, value: str | None, *, takes_value: bool) -> list[str]:
    if value is None:
        return [option]
    if takes_value:
        return [f"{option}={value}"]
    return [option] if value.lower() not in ("false", "0", "no") else []


def _choose_recipe(arguments: argparse.Namespace, typed: Typed) -> None:
    """Set `recipe` and `reasons`, and put the keys that the choice sets before the others."""
    target, resumed = arguments.target, getattr(arguments, "resume", None)
    if target is None and resumed:
        target = str(interrupted_run(resumed) / RECIPE)
    for key in ("data.root", "config"):
        given = next((option for option in typed.options if option.plain_key == key), None)
        if target is None and given is not None and given.value is not None:
            target = given.value
            typed.options.remove(given)
    if target is None:
        raise InputError(f"required: RECIPE|FOLDER, such as {_typed_command(arguments)} my_images")
    root = next((option for option in typed.options if option.plain_key == "data.root"), None)
    names_class = any(option.plain_key in ("data", "data.class_path") for option in typed.options)
    is_folder = is_recipe(target) and root is not None and arguments.folder is None and not names_class
    typed.own_file = target.endswith((".yaml", ".yml"))
    choice = choose(target, root.value if root and is_folder else arguments.folder, task=arguments.task)
    arguments.recipe, arguments.reasons = str(choice.recipe), choice.reasons
    chosen = [Option(k, k, value) for k, value in zip(choice.overrides[::2], choice.overrides[1::2], strict=True)]
    if root is not None and not is_folder and any(option.plain_key == "data.root" for option in chosen):
        raise InputError(f"{root.typed} {root.value} and {arguments.folder or target}: give one folder")
    typed.options = [*chosen, *typed.options]
