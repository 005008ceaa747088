"""Faults of single samples of a dataset: found for all of them, then reported at once or left out."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from visiontasks.cores import available_cores
from visiontasks.data.pipeline.reader import inspect_image, upright_size
from visiontasks.errors import BadSamplesError, InputError

OnBadSample = Literal["error", "skip"]
"""What to do with samples that cannot be used: refuse the dataset, or leave them out."""
MOST_ALIKE = 5
"""Problems of one kind that a message lists."""
_OWN = re.compile(r"^.*?'s (?=b?box )|[^\s;]*[\d/\\_.'][^\s;]*")
"""What is one object's or file's own in the words of a problem: its class, and words with digits or parts of a path."""


@dataclass(frozen=True)
class Problem:
    """A fault of a sample that its owner can fix.

    Args:
        file: The file to fix, and the line where it has lines.
        what: What was found in it, and what was expected.
        fix: What to do.
    """

    file: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.fix}"

    @classmethod
    def of_error(cls, file: str, error: InputError, *, otherwise: str) -> "Problem":
        """What the reader found wrong with a file.

        Args:
            file: The file.
            error: What was raised: the file, what was found; what to do.
            otherwise: What to do where the error does not name it.
        """
        what, _, fix = str(error).removeprefix(f"{file}: ").rpartition("; ")
        return cls(file, what or fix, fix if what else otherwise)


def file_problems(paths: Sequence[str], *, decode: bool, max_16bit: int | None = None) -> list[list[Problem]]:
    """The faults of each image file.

    Args:
        paths: The files, (n,).
        decode: Whether to decode them in full, which finds more; else beginning and end of each are read.
        max_16bit: Largest value of 16-bit images, as for `read_image`.

    Returns:
        None or one for each, (n,).
    """
    read: Callable[[str], object] = partial(inspect_image, max_16bit=max_16bit) if decode else upright_size

    def problems(path: str) -> list[Problem]:
        try:
            read(path)
        except InputError as error:
            return [Problem.of_error(path, error, otherwise="copy it there again")]
        return []

    if not decode:  # mostly Python's own work, which threads would only slow down
        return [problems(path) for path in paths]
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(problems, paths))


def no_sample_left(split: str, count: int) -> InputError:
    """What is to be raised where all samples of a split are skipped.

    Args:
        split: The split.
        count: How many there were.
    """
    return InputError(
        f"data.init_args.on_bad_sample: skip, but all {count} image(s) of the {split} split are bad; correct some of "
        "them (error lists what is wrong), or put other images there"
    )


def usable_samples(
    problems: Sequence[Sequence[Problem]],
    *,
    root: Path,
    on_bad_sample: OnBadSample,
    can_skip: bool = True,
    faults: Sequence[str] = (),
) -> npt.NDArray[np.bool_]:
    """Which samples of a dataset have no problem.

    Args:
        problems: The problems of each sample, over all splits so that all are reported at once, (n,).
        root: Folder of the dataset, for the message.
        on_bad_sample: `error` raises if there is any problem, `skip` only if no sample is left.
        can_skip: Whether the dataset has the choice.
        faults: Of the whole dataset, which are reported with the problems.

    Returns:
        False for each sample to leave out, (n,).

    Raises:
        BadSamplesError: With all of the problems; its message lists the first of each kind, see `shortened`.
    """
    usable = np.array([not found for found in problems], dtype=np.bool_)
    bad = len(usable) - int(usable.sum())
    if bad == 0 or (on_bad_sample == "skip" and usable.any()):
        return usable
    listed = [problem for found in problems for problem in found]
    lines = shortened(listed)
    skip = ", or leave these samples out: --data.init_args.on_bad_sample skip" if can_skip and usable.any() else ""
    every = "; visiontasks check-data lists all of them" if len(lines) < len(listed) else ""
    raise BadSamplesError(
        "\n".join(
            [
                f"data.init_args.root: {len(listed)} problem(s) in {bad} of {len(usable)} samples of {root}/:",
                *lines,
                *faults,
                f"{len(listed)} problem(s): fix them{skip}{every}",
            ]
        ),
        listed,
    )


def shortened(problems: Sequence[Problem]) -> list[str]:
    """A line for each problem; of more than `MOST_ALIKE` that differ in files, numbers and classes alone the first."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((_OWN.sub("*", problem.what), _OWN.sub("*", problem.fix)), []).append(problem)
    if max(map(len, groups.values()), default=0) <= MOST_ALIKE + 1:
        return [str(problem) for problem in problems]
    lines: list[str] = []
    for group in groups.values():
        more = len(group) - MOST_ALIKE
        shown = group[:MOST_ALIKE] if more > 1 else group
        lines += [*map(str, shown), *([f"... and {more:,} more of this kind"] if more > 1 else [])]
    return lines
