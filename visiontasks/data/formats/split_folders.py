"""Which folders of a dataset are its splits, under the names that people publish them by: Train, seg_test, valid."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from visiontasks.data.pipeline.files import listed
from visiontasks.errors import InputError

SPLITS = ("train", "val", "test")
UNLABELLED = "pred"
"""What `split_of` calls a folder of images to predict, which is not a split."""

_WORDS = {
    "train": ("train", "training", "trn", "trainings", "训练", "訓練"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation", "validierung", "validierungs", "验证", "驗證"),
    "test": ("test", "testing", "tst", "测试", "測試"),
    UNLABELLED: ("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_FILLERS = (
    "set",
    "sets",
    "data",
    "dataset",
    "images",
    "image",
    "imgs",
    "img",
    "photos",
    "pictures",
    "folder",
    "split",
    "daten",
    "bilder",
    "集",
)
"""Words without a meaning of their own: train_images, TestSet, validation_data."""


@dataclass(frozen=True)
class SplitNames:
    """How the folders of a dataset are read.

    Args:
        splits: The folder of each split, in the order train, val, test.
        unlabelled: Folders of images to predict.
        others: Folders that are none of these.
    """

    splits: dict[str, str]
    unlabelled: list[str]
    others: list[str]


def split_of(name: str) -> tuple[str, str] | None:
    """What a folder's or file's name means.

    Args:
        name: In any case; numbers in it mean nothing.

    Returns:
        `train`, `val`, `test` or `pred`, and the words beside it that might mean something; None where it has no such
        word, or words of several splits.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [_without_filler(word) for word in re.findall(r"[^\W\d_]+", apart.casefold())]
    found = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    if len(found) != 1:
        return None
    return found.pop(), " ".join(word for word in words if word and word not in _SPLIT_OF)


def says_nothing(name: str) -> bool:
    """Whether a folder is called images, data or the like."""
    return name.casefold() in _FILLERS


def split_names(names: Sequence[str], *, folder: Path) -> SplitNames:
    """Sort the names of folders into splits and others.

    Splits share all words but that of the split (seg_train, seg_test); one alone has no other word.

    Args:
        names: The folders' names.
        folder: Where they lie, for the message.

    Raises:
        InputError: If two folders have the name of one split; names what to rename.
    """
    meant = {name: means for name in names if (means := split_of(name))}
    rests = {rest for split, rest in meant.values() if split != UNLABELLED}
    if len(rests) > 1 and "" in rests:  # train/ and test/ beside test_easy/: what has no other word is a split
        meant = {name: means for name, means in meant.items() if not means[1]}
    elif len(rests) > 1 or (len(meant) == 1 and rests != {""}):
        meant = {}
    of_split: dict[str, list[str]] = {}
    for name, (split, _) in meant.items():
        of_split.setdefault(split, []).append(name)
    unlabelled = of_split.pop(UNLABELLED, [])
    _check_once(of_split, folder)
    splits = {split: of_split[split][0] for split in SPLITS if split in of_split}
    return SplitNames(splits, unlabelled, [name for name in names if name not in meant])


def suspicious(names: Iterable[str]) -> list[str]:
    """Names of classes that are rather those of splits: such words in two or more, or one that has no other word.

    Trains are things too: train_station and train_interior are classes, if there are more that are not of trains. One
    folder called train is a class, and so is valid beside invalid.
    """
    names = list(names)
    meant = {name: means for name in names if (means := split_of(name))}
    things = {rest for split, rest in meant.values() if split == "train" and rest}
    are_trains = len(things) == len(meant) and 2 * len(meant) < len(names)
    if len(meant) > 1 and not are_trains:
        return list(meant)
    opposites = {"invalid"} & set(map(str.casefold, names))
    return [name for name, (split, rest) in meant.items() if split != "train" and not rest and not opposites]


def _check_once(of_split: Mapping[str, Sequence[str]], folder: Path) -> None:
    twice = [
        f"{' and '.join(f'{name}/' for name in names)} (both {split})"
        for split, names in of_split.items()
        if len(names) > 1
    ]
    if twice:
        raise InputError(
            f"data.init_args.root: {folder}/ has {listed(twice)}: one folder for each split is expected; merge, rename "
            "or move them"
        )


def _without_filler(word: str) -> str:
    """trainset becomes train, images nothing."""
    if word in _FILLERS:
        return ""
    cut = [word.removesuffix(filler) for filler in _FILLERS if word.endswith(filler)]
    return next((short for short in cut if short in _SPLIT_OF), word)
