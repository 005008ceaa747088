"""Wall time of what a user expects to answer at once: the list of recipes, the version, a wrong name.

python bench/run.py commands
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import results
from bench.processes import measure

COMMANDS = {("recipes",): 0, ("--version",): 0, ("finetune", "no_such_recipe"): 2}  # and the exit status
TARGET_S = 0.5


def program() -> list[str]:
    """The command as it is installed beside this Python, else the package."""
    installed = Path(sys.executable).with_name("visiontasks")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "visiontasks"]


def line(command: str, seconds: Sequence[float]) -> str:
    """What is printed of a command's times."""
    verdict = "met" if median(seconds) < TARGET_S else "missed"
    return (
        f"visiontasks {command}: {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, n={len(seconds)}), "
        f"target < {TARGET_S} s {verdict}"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="commands")
    options = parser.parse_args(arguments)
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as scratch:
        for turn in range(options.rounds + 1):  # the first brings the files into the page cache
            for words, status in COMMANDS.items():
                usage = measure(
                    [*program(), *words], cwd=Path(scratch), log=Path(scratch) / "output.txt", status=status
                )
                if turn:
                    command = " ".join(words)
                    times.setdefault(command, []).append(usage.wall_s)
                    row = {"round": str(turn), "command": command, "wall_s": f"{usage.wall_s:.3f}"}
                    results.append(results.FOLDER / f"{options.name}.csv", row | results.circumstances())
    for command, seconds in times.items():
        print(line(command, seconds))
