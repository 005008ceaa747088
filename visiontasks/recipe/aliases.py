"""Short options for recipe keys, and what users of other tools type for them. Imports nothing heavy.

A word is read in this order: a recipe key (`--trainer.max_epochs`), a short option (`--epochs`), another tool's name of
one (`--max-epochs`, `epochs=12`, `imgsz=320`). All of them become recipe keys, so recipe.yaml knows nothing of options.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path

from visiontasks.errors import InputError
from visiontasks.recipe.foreign import ANSWERS, FLAGS, OTHERS

SECTIONS = ("trainer", "model", "data", "finetune")
WHOLE_KEYS = ("seed_everything", "init_from", "config", "print_config")
"""Keys of a recipe that are in no section."""
_LARGEST_SEED = 2**32 - 1
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "none")
_CLASS = re.compile(r"(\w+\.)*[A-Z]\w*")
_WEIGHT_FILE = re.compile(r".*\.(safetensors|pth|pt|bin|ckpt|tar)")


ToKeys = Callable[[str, str, str], list[tuple[str, str]]]
"""From an option as typed, its value and its recipe key to keys with values."""


@dataclass(frozen=True)
class Option:
    """A recipe key with its value.

    Args:
        typed: How the user named it, `--epochs` or `epochs=`.
        key: The key, `--trainer.max_epochs`.
        value: Its value; None if nothing follows.
    """

    typed: str
    key: str
    value: str | None

    @property
    def words(self) -> list[str]:
        """Key and value as arguments of the recipe's parser."""
        return [self.key] if self.value is None else [self.key, self.value]

    @property
    def plain_key(self) -> str:
        """The key without dashes and `init_args`, which may be left out."""
        return self.key.removeprefix("--").replace(".init_args", "")


@dataclass(frozen=True)
class Alias:
    """A short option for recipe keys.

    Args:
        option: Its name.
        metavar: Its value, for --help.
        meaning: For --help.
        key: The recipe key, for --help.
        keys: From the value as typed to keys with values.
    """

    option: str
    metavar: str
    meaning: str
    key: str
    keys: ToKeys


def _whole(least: int, most: int | None = None) -> ToKeys:
    def keys(typed: str, value: str, key: str) -> list[tuple[str, str]]:
        is_whole = re.fullmatch(r"-?\d+", value) is not None
        if not is_whole or int(value) < least or (most is not None and int(value) > most):
            limits = f"of {least} or more" if most is None else f"from {least} to {most}"
            raise InputError(f"{typed} {value}: expected a whole number {limits}")
        return [(key, value)]

    return keys


def _rate(typed: str, value: str, key: str) -> list[tuple[str, str]]:
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not (isfinite(rate) and rate > 0):
        raise InputError(f"{typed} {value}: expected a learning rate above 0, such as 0.001")
    return [(key, repr(rate))]  # not as typed: YAML reads 1e-3 as text


def _text(typed: str, value: str, key: str) -> list[tuple[str, str]]:
    return [(key, value)]


def _size(typed: str, value: str, key: str) -> list[tuple[str, str]]:
    sides = re.findall(r"\d+", value)
    if not re.fullmatch(r"\d+|[\[(]?\d+\s*[x,]\s*\d+[\])]?", value.lower()) or min(map(int, sides)) < 1:
        raise InputError(f"{typed} {value}: expected pixels such as 224, or height and width such as 240x320")
    return [(key, sides[0] if len(sides) == 1 else f"[{sides[0]}, {sides[1]}]")]


def _device(typed: str, value: str, key: str) -> list[tuple[str, str]]:
    name, accelerator, devices = value.lower(), "--trainer.accelerator", "--trainer.devices"
    if name in ("cpu", "mps", "auto"):
        return [(accelerator, name), (devices, "auto" if name == "auto" else "1")]
    if name in ("cuda", "gpu"):
        return [(accelerator, "cuda"), (devices, "1")]
    if numbers := re.fullmatch(r"(?:(?:cuda|gpu):)?(\d+(?:,\d+)*)", name):
        return [(accelerator, "cuda"), (devices, f"[{numbers[1].replace(',', ', ')}]")]
    raise InputError(f"{typed} {value}: expected cpu, cuda, cuda:1, mps or auto")


ALIASES = (
    Alias("--epochs", "N", "passes over the training images", "trainer.max_epochs", _whole(1)),
    Alias("--lr", "RATE", "highest learning rate, that of the head", "model.optimizer.lr", _rate),
    Alias("--batch-size", "N", "images in a training step", "data.batch_size", _whole(1)),
    Alias("--image-size", "N|HxW", "pixels of the network's input, in augmentation too", "data.image_size", _size),
    Alias("--backbone", "NAME", "a timm name such as resnet50.a1_in1k, or local-dir:FOLDER", "model.backbone", _text),
    Alias("--weights", "W", "hub, none, or a file or folder of weights", "model.weights", _text),
    Alias("--freeze-epochs", "N", "first epochs that train the head alone", "finetune.freeze_epochs", _whole(0)),
    Alias("--workers", "N", "loading processes", "data.num_workers", _whole(0)),
    Alias("--device", "D", "cpu, cuda, cuda:1, mps or auto", "trainer.accelerator and devices", _device),
    Alias("--seed", "N", "of order, augmentation and new weights", "seed_everything", _whole(0, _LARGEST_SEED)),
)
_BY_OPTION = {alias.option: alias for alias in ALIASES}


def expand(words: Sequence[str]) -> list[str]:
    """Recipe keys for options in any of their forms.

    Args:
        words: `--epochs 12`, `--epochs=12`, `epochs=12`, `--trainer.max_epochs 12`, in any order.

    Returns:
        `--key` and value in turn; a key without a value at the end, which the recipe's parser reports.

    Raises:
        InputError: If an option is unknown, a value is not of its type, or two options set one key to different values.
    """
    return [word for option in options_of(words) for word in option.words]


def options_of(words: Sequence[str]) -> list[Option]:
    """Recipe keys for options in any of their forms, with the form; see `expand`."""
    found: list[Option] = []
    for name, value in pairs(words):
        if name is None:
            raise InputError(f"unexpected argument {value!r}; options look like --epochs 3 or --trainer.max_epochs 3")
        found += _options(name, value)
    _check_agreement(found)
    return found


def pairs(words: Sequence[str], flags: Sequence[str] = ()) -> Iterator[tuple[str | None, str | None]]:
    """Options with their values, and what is no option with the name None.

    Args:
        words: As typed.
        flags: Options that take no value, beside those that other tools have.
    """
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if re.match(r"-{1,2}[A-Za-z]", word):
            if equals:
                yield name, value
            elif _is_flag(name, rest, flags) or not rest or re.match(r"-{1,2}[A-Za-z]", rest[0]):
                yield name, None
            else:
                yield name, rest.pop(0)
        elif equals and re.fullmatch(r"[A-Za-z][\w.-]*", name) and not Path(word).exists():
            yield f"{name}=", value
        else:
            yield None, word


def option_name(name: str) -> str:
    """Our name of an option: a recipe key, a short option, or what replaces another tool's name; unknown ones stay."""
    plain = name.lstrip("-").removesuffix("=")
    if "." in plain or plain in SECTIONS or plain in WHOLE_KEYS:
        return f"--{plain.replace('-', '_')}"
    plain = plain.lower().replace("_", "-")
    return OTHERS.get(plain, f"--{plain}")


def check_answers(name: str) -> None:
    """Answer a name of another tool that has no counterpart, or several.

    Raises:
        InputError: If it is one.
    """
    answer = ANSWERS.get(name.lstrip("-").removesuffix("=").lower().replace("_", "-"))
    if answer is not None:
        raise InputError(f"{name.removesuffix('=')}: {answer}")


def unknown_option(name: str) -> InputError:
    """The error for an option that no one knows, with near ones."""
    plain = name.removesuffix("=")
    near = get_close_matches(option_name(name), _BY_OPTION, n=2, cutoff=0.6)
    if not near:
        near = sorted({OTHERS[each] for each in get_close_matches(plain.lstrip("-"), OTHERS, n=2, cutoff=0.8)})
    hint = f"did you mean {' or '.join(near)}?" if near else "--help lists the options, --print_config all recipe keys"
    return InputError(f"unknown option {plain}: {hint}")


def _is_flag(name: str, rest: Sequence[str], flags: Sequence[str]) -> bool:
    plain = name.lstrip("-").lower().replace("_", "-")
    following = rest[0].lower() if rest else ""
    takes = following in (*_TRUE, *_FALSE, "hub") or _WEIGHT_FILE.fullmatch(following) is not None
    return (name in flags or plain in FLAGS) and not takes


def _options(name: str, value: str | None) -> list[Option]:
    check_answers(name)
    ours = option_name(name)
    typed = name.removesuffix("=")
    if flag := _of_flag(ours, value):
        return [Option(typed, *flag)]
    if ours in ("--model", "--data") and value is not None:
        ours = _section(ours, value)
    alias = _BY_OPTION.get(ours)
    if alias is not None:
        if not value:
            raise InputError(f"{typed} needs a value: {alias.meaning}")
        return [Option(typed, key, found) for key, found in alias.keys(typed, value.strip(), f"--{alias.key}")]
    plain = ours.removeprefix("--")
    if "." in plain or plain in SECTIONS or plain in WHOLE_KEYS:
        return [Option(typed, ours, value)]
    raise unknown_option(name)


def _of_flag(ours: str, value: str | None) -> tuple[str, str] | None:
    """Key and value of an option that stands for both."""
    given = (value or "true").lower()
    if ours == "--pretrained":
        is_named = given not in (*_TRUE, *_FALSE)
        return "--model.weights", str(value) if is_named else "hub" if given in _TRUE else "none"
    if ours == "--no-pretrained":
        return "--model.weights", "none"
    if ours == "--no-augment":
        return "--data.augment", "null"
    if ours in ("--cpu", "--no-cuda") and given in _TRUE:
        return "--trainer.accelerator", "cpu"
    return None


def _section(ours: str, value: str) -> str:
    """What `--model X` and `--data X` mean: a class as in a recipe, else a backbone, or the folder of the images."""
    is_class = _CLASS.fullmatch(value) is not None and (ours == "--model" or not Path(value).is_dir())
    if is_class or value.endswith((".yaml", ".yml")) or value.startswith("{"):
        return ours
    return "--backbone" if ours == "--model" else "--data.root"


def _check_agreement(options: Sequence[Option]) -> None:
    """Refuse two options that set one key to different values; of one option given twice the last counts."""
    first: dict[str, Option] = {}
    for option in options:
        other = first.setdefault(option.plain_key, option)
        if other.typed != option.typed and other.value != option.value:
            raise InputError(
                f"{other.typed} {other.value} and {option.typed} {option.value} set the same recipe key, "
                f"{option.plain_key}: give one of them"
            )
