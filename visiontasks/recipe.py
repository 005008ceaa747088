"""Recipes: where they are, what their head comment says. Imports nothing heavy, so that listing them is instant."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from visiontasks.errors import InputError, MissingFileError

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """One line of `visiontasks recipes`."""

    name: str
    task: str
    backbone: str
    data: str
    needs_download: bool
    measured: str


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
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if path.is_file():
            return path
        raise MissingFileError(f"no recipe file {name}")
    path = recipes_dir() / f"{name}.yaml"
    if path.is_file():
        return path
    names = [recipe.stem for recipe in sorted(recipes_dir().glob("*.yaml"))]
    near = get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(names)}"
    raise MissingFileError(f"no recipe {name!r}: {hint} (visiontasks recipes lists them; a path must end in .yaml)")


def describe(path: Path) -> Recipe:
    """Read what the table of recipes shows.

    Args:
        path: A recipe's file.

    Raises:
        InputError: If it is not a recipe.
    """
    text = path.read_text()
    try:
        content = yaml.safe_load(text)
        model, data = content["model"], content["data"]
        init_args = model["init_args"]
        backbone, weights = init_args["backbone"], init_args["weights"]
        task, source = _short(model["class_path"]), _short(data["class_path"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a recipe: {type(error).__name__} {error}") from error
    shipped = (PACKAGE / "backbones" / "pretrained" / f"{backbone}.safetensors").is_file()
    downloads_data = bool((data.get("init_args") or {}).get("download"))
    measured = re.search(r"^# measured: *(.+(?:\n#   .+)*)", text, re.MULTILINE)
    return Recipe(
        name=path.stem,
        task=task.removesuffix("Task").lower(),
        backbone=str(backbone),
        data=source,
        needs_download=downloads_data or (weights == "hub" and not shipped),
        measured=re.sub(r"\n#\s+", " ", measured[1]) if measured else "",
    )


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's keys and values."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def _short(class_path: str) -> str:
    return class_path.rsplit(".", 1)[-1]
