"""Recipes: YAML files that define what is trained, on which data, and how."""

from visiontasks.recipe.files import (
    Recipe,
    class_name,
    describe,
    find_recipe,
    init_arg,
    list_recipes,
    read_header,
    read_recipe,
    recipes_dir,
    starting_run,
)

__all__ = [
    "Recipe",
    "class_name",
    "describe",
    "find_recipe",
    "init_arg",
    "list_recipes",
    "read_header",
    "read_recipe",
    "recipes_dir",
    "starting_run",
]
