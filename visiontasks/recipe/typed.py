"""Names recipe keys in messages as the user knows them: as typed, as options, or as they stand in the own file."""

import re
import shlex
from collections.abc import Sequence

from visiontasks.recipe.aliases import ALIASES, SECTIONS, Option

_KEY = re.compile(rf"(?<![\w./-])(--)?((?:{'|'.join(SECTIONS)})(?:\.\w+)+|seed_everything\b|init_from\b)(?!/)")
_TO_SET = re.compile(r"((?:\bset |\()--[\w.-]+): (\{[^}]*\}|\[[^]]*\]|[\w.+-]*\w)")
"""An option with its value, in YAML's form, which a message proposes."""
_WITHOUT_CLASS = ("trainer", "finetune", "seed_everything")
_OPTION_OF = {alias.key: alias.option for alias in ALIASES}


def as_typed(message: str, options: Sequence[Option], *, own_file: bool) -> str:
    """A message with its recipe keys as the user would change them.

    Args:
        message: Has keys such as data.init_args.root.
        options: What was typed.
        own_file: Whether the recipe is a file of the user's: keys that were not typed stay as they stand in it. Those
            of a shipped recipe are set by options.
    """
    typed = {option.plain_key: option.typed for option in options}

    def name(match: re.Match[str]) -> str:
        plain = match[2].replace(".init_args", "")
        if plain in typed:
            return typed[plain]
        is_key = match[1] or ".init_args." in match[2] or match[2].partition(".")[0] in _WITHOUT_CLASS
        if not is_key or (own_file and not match[1]):
            return match[0]
        return _OPTION_OF.get(plain, f"--{plain}")

    return _TO_SET.sub(lambda match: f"{match[1]} {shlex.quote(match[2])}", _KEY.sub(name, message))
