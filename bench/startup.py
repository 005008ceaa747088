"""The time outside the epochs: what a training imports and does until its first step, and after its last epoch.

python bench/run.py startup [--rounds 3] [--recipe digits_resnet] [--overrides "--data.root FOLDER ..."]

Each round is a process of its own in which the boundaries of the parts are noted as it runs the command `finetune`,
with one thread, so that processor seconds are those of the work. Features of frozen epochs are not kept between rounds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import results

PARTS = ("imports", "recipe", "setup", "epochs", "measuring", "report", "end")
"""Until the command's file is imported; until task, data and trainer are made; until the first step begins; until the
last epoch has ended; until the best epoch is measured; until the report is written; until the process ends."""


def note(words: Sequence[str], path: Path) -> None:
    """Run a command in this process, and write when each part ended, in wall and processor seconds."""
    begin = time.time() - float(os.environ["BEGIN"])
    start, marks = time.monotonic() - begin, []

    def mark(part: str) -> None:
        if part not in {name for name, *_ in marks}:
            marks.append((part, time.monotonic() - start, time.process_time()))

    def marked(function: Callable[..., Any], part: str, *, first: bool = False) -> Callable[..., Any]:
        def inner(*arguments: Any, **options: Any) -> Any:
            if first:
                mark(part)
                return function(*arguments, **options)
            result = function(*arguments, **options)
            mark(part)
            return result

        return inner

    from visiontasks.commands import main

    ready = main._ready

    def is_ready() -> None:
        mark("imports")
        from visiontasks.commands import finetune
        from visiontasks.training.timing import TimeSpent

        finetune._prepare = marked(finetune._prepare, "recipe", first=True)
        TimeSpent.on_train_batch_start = marked(TimeSpent.on_train_batch_start, "setup", first=True)  # type: ignore[method-assign]
        TimeSpent.on_train_end = marked(TimeSpent.on_train_end, "epochs")  # type: ignore[method-assign]
        finetune.measure = marked(finetune.measure, "measuring")
        finetune.write_measured = marked(finetune.write_measured, "report")
        ready()

    main._ready = is_ready
    status = main.main(words)
    mark("end")
    path.write_text("\n".join(f"{part},{wall:.3f},{cpu:.3f}" for part, wall, cpu in marks))
    sys.exit(status)


def seconds(path: Path) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds of each part, from the ends that `note` wrote."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    ends = {part: (float(wall), float(cpu)) for part, wall, cpu in lines}
    found, before = {}, (0.0, 0.0)
    for part in PARTS:
        found[part] = (ends[part][0] - before[0], ends[part][1] - before[1])
        before = ends[part]
    return found


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="digits_resnet")
    parser.add_argument("--overrides", default="", help="of the recipe")
    parser.add_argument("--name", default="startup")
    options = parser.parse_args(arguments)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="visiontasks-bench-") as scratch:
        for turn in range(1, options.rounds + 1):
            folder = Path(scratch, str(turn))
            folder.mkdir()
            circumstances, root = results.circumstances(), Path(__file__).parents[1]
            begin = {"BEGIN": str(time.time()), "OMP_NUM_THREADS": "1", "VISIONTASKS_CACHE": str(folder / "features")}
            paths = {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
            code = "import sys; from pathlib import Path; from bench.startup import note; "
            code += "note(sys.argv[2:], Path(sys.argv[1]))"
            words = ["finetune", options.recipe, *options.overrides.split()]
            command = [sys.executable, "-c", code, str(folder / "marks.csv"), *words]
            with (folder / "output.txt").open("w") as output:
                subprocess.run(
                    command, env={**os.environ, **begin, **paths}, cwd=folder, check=True, stdout=output, stderr=output
                )
            rounds.append(seconds(folder / "marks.csv"))
            for part, (wall, cpu) in rounds[-1].items():
                row = {"round": str(turn), "recipe": options.recipe, "part": part}
                row |= {"wall_s": f"{wall:.3f}", "cpu_s": f"{cpu:.3f}"}
                results.append(results.FOLDER / f"{options.name}.csv", row | circumstances)
    for part in PARTS:
        wall, cpu = (median(each[part][i] for each in rounds) for i in (0, 1))
        print(f"{part:10} {wall:7.2f} s, {cpu:7.2f} s of the processor")
