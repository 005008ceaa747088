"""Finds, reads and describes recipe files. Imports nothing heavy, so that listing them is instant."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from visiontasks.errors import InputError, MissingFileError

PACKAGE = Path(__file__).parents[1]
LARGEST = 100_000  # values in a recipe; aliases of aliases can be any number
LOCALIZATION = "LocalizationTask"
MEASURED = "measured:"
COMMAND = re.compile(r" +(make|(\.venv/bin/)?visiontasks) [a-z]")
"""Lines of a recipe's header that are run in a shell."""
EXAMPLES = {"model": "ClassificationTask", "data": "ImageFolder"}


@dataclass(frozen=True)
class Recipe:
    """One line of `visiontasks recipes`."""

    name: str
    task: str
    backbone: str
    data: str
    needs_download: bool
    measured: str

    @property
    def headline(self) -> tuple[str, str]:
        """The first metric that was measured, and its value as the recipe writes it; both empty without one."""
        found = re.match(r"(\w+/\w+) (\d[\d.]*)", self.measured)
        return (found[1], found[2]) if found else ("", "")


def recipes_dir() -> Path:
    """The folder of shipped recipes: inside an installed package, beside it in a checkout."""
    installed = PACKAGE / "recipes"
    return installed if installed.is_dir() else PACKAGE.parent / "recipes"


def list_recipes() -> list[Recipe]:
    """All shipped recipes by name."""
    return [describe(path) for path in sorted(recipes_dir().glob("*.yaml"))]


def find_recipe(name: str) -> Path:
    """The file of a recipe.

    Args:
        name: A shipped recipe's name, or the path of a YAML file.

    Raises:
        MissingFileError: If there is neither; it names the nearest recipes.
    """
    is_path = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_path else recipes_dir() / f"{name}.yaml"
    if path.is_file():
        return path
    names = [recipe.stem for recipe in sorted(recipes_dir().glob("*.yaml"))]
    near = get_close_matches(path.stem, names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(names)}"
    what = f"no recipe file {name}" if is_path else f"no recipe {name!r}"
    raise MissingFileError(f"{what}: {hint} (visiontasks recipes lists them; a path must end in .yaml)")


def describe(path: Path) -> Recipe:
    """Read what the table of recipes shows.

    Args:
        path: A recipe's file.

    Raises:
        InputError: If it is not a recipe.
    """
    content = read_recipe(path)
    model, data = content["model"], content["data"]
    try:
        backbone, weights = model["init_args"]["backbone"], model["init_args"]["weights"]
        task, source = _short(model["class_path"]), _short(data["class_path"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a complete recipe: {error}; expected model.class_path, model.init_args.backbone, "
            "model.init_args.weights and data.class_path"
        ) from error
    shipped = (PACKAGE / "backbones" / "pretrained" / f"{backbone}.safetensors").is_file()
    downloads_data = bool((data.get("init_args") or {}).get("download"))
    measured = next((text for text in read_header(path) if text.startswith(MEASURED)), "")
    return Recipe(
        name=path.stem,
        task=task.removesuffix("Task").lower(),
        backbone=str(backbone),
        data=source,
        needs_download=downloads_data or (weights == "hub" and not shipped),
        measured=measured.removeprefix(MEASURED).strip(),
    )


def read_header(path: Path) -> list[str]:
    """The comment at the top of a recipe's file, in paragraphs on one line each; commands begin with two spaces."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line[1:].removeprefix(" ").rstrip()
        if lines and _continues(text, lines[-1]):
            lines[-1] += f" {text.strip()}"
        else:
            lines.append(text)
    return lines


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's keys and values, as `modernized` gives them.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is not YAML of a recipe's size, gives a key twice, or model, data or a class_path in
            one of them is missing.
    """
    if not path.is_file():
        raise MissingFileError(f"no recipe file {path}")
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a recipe: expected sections such as model and data, got {content!r:.60}")
    if "config" in content:
        raise InputError(
            f"{path}: config is not a section, and the file that it names would not be read: repeat its lines"
        )
    for section in ("model", "data"):
        _check_section(path, content, section)
    return modernized(content)


def modernized(content: dict[str, Any]) -> dict[str, Any]:
    """A recipe in today's keys: `init_from` was `model.init_args.classifier` of LocalizationTask once."""
    options = dict(content["model"].get("init_args") or {})
    if "classifier" not in options or _short(content["model"]["class_path"]) != LOCALIZATION:
        return content
    run = options.pop("classifier")
    options["freeze_classes"] = run is not None and options.get("class_weight") == 0
    return {**content, "init_from": run, "model": {**content["model"], "init_args": options}}


def init_arg(content: dict[str, Any], overrides: Sequence[str], section: str, name: str) -> Any:
    """Value of an argument of the class in a section, as the overrides leave it; None where nothing gives it.

    Args:
        content: What `read_recipe` gave.
        overrides: `--key value` or `--key=value`, the last of a key counts.
        section: "model" or "data".
        name: The argument.
    """
    given = last_given(overrides, f"--{section}.{name}", f"--{section}.init_args.{name}")
    return (content[section].get("init_args") or {}).get(name) if given is None else given


def value_at(content: Any, key: str) -> Any:
    """Value of a recipe's key, such as model.optimizer.lr, in which `init_args` may be left out; None if not given."""
    for name in key.split("."):
        if isinstance(content, dict) and name not in content:
            content = content.get("init_args")
        content = content.get(name) if isinstance(content, dict) else None
    return content


def starting_run(content: dict[str, Any], overrides: Sequence[str]) -> Any:
    """The run that a training starts from, as the overrides leave it; None if it does not.

    Args:
        content: What `read_recipe` gave.
        overrides: `--key value` or `--key=value`, the last of a key counts.
    """
    return last_given(overrides, "--init_from") or content.get("init_from")


def class_name(content: dict[str, Any], overrides: Sequence[str], section: str) -> str:
    """Short name of the class in a section, as the overrides leave it.

    Args:
        content: What `read_recipe` gave.
        overrides: `--key value` or `--key=value`, the last of a key counts.
        section: "model" or "data".
    """
    return _short(
        last_given(overrides, f"--{section}", f"--{section}.class_path") or str(content[section]["class_path"])
    )


def _continues(text: str, before: str) -> bool:
    """Whether a line of a header goes on with the paragraph before it."""
    if COMMAND.match(text) or COMMAND.match(before):
        return False
    return text.startswith(" ") or (not before.startswith(MEASURED) and not text.startswith(MEASURED))


def _read_yaml(path: Path) -> Any:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _RecipeLoader)
        _count(content)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {_yaml_problem(error)}") from error
    except RecursionError as error:
        raise InputError(f"{path} is not a recipe: more values in each other than a recipe has") from error
    return content


def _check_section(path: Path, content: dict[str, Any], section: str) -> None:
    if section not in content:
        raise InputError(
            f"{path} has no section {section}, only {', '.join(map(str, content)) or 'none'}: add it; a shipped "
            "recipe such as digits_resnet shows how"
        )
    part = content[section]
    if not isinstance(part, dict) or "class_path" not in part:
        raise InputError(f"{path}: {section} has no class_path, such as {EXAMPLES[section]}: add it")
    if not isinstance(part.get("init_args") or {}, dict):
        raise InputError(f"{path}: {section}.init_args has no keys, expected lines such as `name: value`")


class _RecipeLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is given twice", key.start_mark
                )
            keys.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def _count(content: Any, number: int = 0) -> int:
    """Count the values, each alias anew, up to a limit.

    Raises:
        RecursionError: If there are more than a recipe has.
    """
    number += 1
    if number > LARGEST:
        raise RecursionError
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        number = _count(value, number)
    return number


def last_given(overrides: Sequence[str], *keys: str) -> str | None:
    """The value that overrides set a key to, in any of its spellings; the last counts, None if there is none."""
    value = None
    for word, following in zip_longest(overrides, overrides[1:]):
        key, equals, given = word.partition("=")
        if key in keys:
            value = given if equals else following
    return value


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{getattr(error, 'problem', None) or error}"


def _short(class_path: str) -> str:
    return class_path.rsplit(".", 1)[-1]
