"""A training beside one busy process, and alone: how long each takes, by its number of threads.

python bench/run.py neighbour [--rounds 3] [--recipe digits_resnet]

The busy process is a Python loop that is pinned nowhere. The ways take turns, alone and beside it: `ours` with as many
threads as visiontasks finds free, `all` with one for each core, `one` with one.
Features of frozen epochs are not kept from one run to the next.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import results
from bench.processes import measure
from visiontasks.cores import available_cores

WAYS: dict[str, dict[str, str]] = {
    "ours": {},
    "all": {"OMP_NUM_THREADS": str(available_cores())},
    "one": {"OMP_NUM_THREADS": "1"},
}
TARGET = 1.6


def train(recipe: str, folder: Path, environment: dict[str, str], *, is_busy: bool) -> dict[str, str]:
    """Wall and processor time of a training."""
    folder.mkdir()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if is_busy else None
    try:
        usage = measure(
            [sys.executable, "-m", "visiontasks", "finetune", recipe],
            cwd=folder,
            log=folder / "output.txt",
            environment={**environment, "VISIONTASKS_CACHE": str(folder / "features")},
        )
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()
    return {"wall_s": f"{usage.wall_s:.2f}", "cpu_s": f"{usage.cpu_s:.2f}"}


def ratios(rows: Sequence[results.Row]) -> dict[str, float]:
    """By way: the median time beside a busy process, by the median time alone."""

    def wall_s(way: str, beside: str) -> float:
        return median(float(row["wall_s"]) for row in rows if (row["way"], row["beside"]) == (way, beside))

    return {way: wall_s(way, "busy") / wall_s(way, "alone") for way in dict.fromkeys(row["way"] for row in rows)}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("neighbour", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="digits_resnet")
    parser.add_argument("--name", default="neighbour")
    options = parser.parse_args(arguments)
    rows: list[results.Row] = []
    with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as scratch:
        for turn in range(1, options.rounds + 1):
            for way, environment in WAYS.items():
                for beside in ("alone", "busy"):
                    folder = Path(scratch) / f"{turn}_{way}_{beside}"
                    circumstances = results.circumstances()
                    times = train(options.recipe, folder, environment, is_busy=beside == "busy")
                    row = {"round": str(turn), "recipe": options.recipe, "way": way, "beside": beside, **times}
                    rows.append(row)
                    results.append(results.FOLDER / f"{options.name}.csv", row | circumstances)
    for way, ratio in ratios(rows).items():
        alone = median(float(row["wall_s"]) for row in rows if (row["way"], row["beside"]) == (way, "alone"))
        verdict = f", target {TARGET} {'met' if ratio <= TARGET else 'missed'}" if way == "ours" else ""
        print(f"{options.recipe}, {way}: {alone:.1f} s alone, beside a busy process {ratio:.2f} x that{verdict}")
