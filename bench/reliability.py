"""Kills, stops and damages trainings at random moments, and counts how many end as if nothing had happened.

    python bench/reliability.py --kills 105

Every case is trained once without interruption. Then it is interrupted and resumed until it ends, and all that a run
gives is compared bit by bit: weights, averages, optimizer, schedule, loops, metrics, history. Exit status 1 if anything
differs. docs/reliability.md has the table of such a run.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from visiontasks.commands.main import main
from visiontasks.errors import InputError
from visiontasks.runs import checkpoint as checkpoints
from visiontasks.runs.checkpoint import read_checkpoint
from visiontasks.runs.folder import BEST, LAST, RECIPE, RESULT

# A frozen epoch, then two of everything: 12 batches and, by default, as many steps in each.
OPTIONS = [
    *("--trainer.max_epochs", "3", "--trainer.limit_train_batches", "12", "--trainer.limit_val_batches", "4"),
    *("--trainer.limit_test_batches", "4", "--data.batch_size", "8", "--data.image_size", "16"),
    *("--finetune.freeze_epochs", "1"),
]
CASES = {
    "no workers": ["--data.num_workers", "0"],
    "two workers": ["--data.num_workers", "2"],
    "averaged weights": ["--data.num_workers", "0", "--model.ema_decay", "0.9"],
    "gradients of 3 batches together": ["--data.num_workers", "0", "--trainer.accumulate_grad_batches", "3"],
    "validation twice an epoch": ["--data.num_workers", "0", "--trainer.val_check_interval", "0.5"],
    "a validation cuts gradients of 3 batches": [
        *("--data.num_workers", "0", "--trainer.accumulate_grad_batches", "3", "--trainer.val_check_interval", "4"),
    ],
    "max_steps that is never reached": ["--data.num_workers", "0", "--trainer.max_steps", "1000"],
    "max_steps within an epoch": [
        *("--data.num_workers", "0", "--trainer.max_steps", "30", "--trainer.val_check_interval", "0.5"),
    ],
    "new loaders in each epoch": [
        *("--data.num_workers", "2", "--trainer.reload_dataloaders_every_n_epochs", "1"),
        *("--trainer.val_check_interval", "0.5"),
    ],
    "early stopping after two epochs": [
        *("--data.num_workers", "0", "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"),
        *("--trainer.callbacks.mode=max", "--trainer.callbacks.min_delta=100", "--trainer.callbacks.patience=1"),
    ],
    "features of frozen epochs cached": [
        *("--data.num_workers", "0", "--trainer.limit_train_batches", "1.0", "--data.batch_size", "64"),
        *("--finetune.freeze_epochs", "2", "--finetune.cached_views", "1"),
    ],
    "outputs of frozen stages cached": [
        *("--data.num_workers", "0", "--trainer.limit_train_batches", "1.0", "--data.batch_size", "64"),
        *("--finetune.last_stages", "1", "--finetune.cached_views", "1"),
    ],
}
# what differs between two runs and is no result: clocks, folders, Lightning's counts of validation batches
NO_RESULT = ("seconds", "elapsed_s", "since_validation_s", "path", "best_k_models", "dirpath", "val_loop", ".recipe")


@dataclass
class Row:
    """A line of the table."""

    fault: str
    tried: int = 0
    survived: int = 0
    lost: str = ""


def content(run_dir: Path) -> dict[str, Any]:
    """All that a run gives, as leaves by name: both checkpoints with optimizer, averages and loops, and the metrics."""
    everything = {name: torch.load(run_dir / name, weights_only=True) for name in (BEST, LAST)}
    result = json.loads((run_dir / RESULT).read_text())
    everything["result"] = {key: result[key] for key in ("metrics", "class_metrics", "chosen_by")}
    return {key: value for key, value in leaves(everything) if not any(part in key for part in NO_RESULT)}


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the leaves that are not equal to the last bit."""

    def same(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else bool(a == b)

    return [key for key in {**one, **other} if not same(one.get(key), other.get(key))]


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything at the ends of nested dicts and lists, by name."""
    if isinstance(value, dict):
        for name in value:
            yield from leaves(value[name], f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from leaves(part, f"{key}.{i}")
    else:
        yield key, value


def start(folder: Path, arguments: list[str], before: Callable[[], None] | None = None) -> int:
    """Run a command in a process of its own in a folder.

    A fork, because importing the libraries takes longer than these trainings.
    """
    pid = os.fork()
    if pid:
        return pid
    os.chdir(folder)
    os.environ["VISIONTASKS_CACHE"] = str(folder / "cache")
    with Path("output.txt").open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    status = 1
    try:
        if before:
            before()
        status = main(arguments)
    finally:
        os._exit(status)
    raise AssertionError


def wait(pid: int) -> int:
    """The exit status of a process, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_of(folder: Path) -> Path | None:
    """The one run in a folder, if it began."""
    runs = [path.parent for path in folder.glob(f"runs/*/*/{RECIPE}")]
    return runs[0] if runs else None


def command(folder: Path, options: list[str]) -> list[str]:
    """What a user would type next: begin, or go on."""
    run_dir = run_of(folder)
    resume = ["--resume", str(run_dir)] if run_dir else []
    return ["finetune", "digits_resnet", *resume, *OPTIONS, *options]


def is_finished(folder: Path) -> bool:
    """Whether the run has its result."""
    run_dir = run_of(folder)
    return run_dir is not None and (run_dir / RESULT).is_file()


def reference(folder: Path, options: list[str]) -> tuple[dict[str, Any], float]:
    """What the case gives without interruption, and the seconds it takes."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    status = wait(start(folder, command(folder, options)))
    run_dir = run_of(folder)
    if status or run_dir is None:
        sys.exit(f"the uninterrupted training ended with status {status}:\n{(folder / 'output.txt').read_text()}")
    return content(run_dir), time.monotonic() - began


def interrupt(
    folder: Path, options: list[str], seconds: float, signum: int, most: int, rng: random.Random
) -> tuple[int, list[int]]:
    """Begin, and interrupt at random moments up to `most` times; then let it end.

    Returns:
        How often it was interrupted, and the statuses with which it ended before the last.
    """
    statuses: list[int] = []
    while not is_finished(folder) and len(statuses) < most:
        pid = start(folder, command(folder, options))
        time.sleep(rng.uniform(0, seconds))
        os.kill(pid, signum)
        statuses.append(wait(pid))
        if run_of(folder) is None:
            shutil.rmtree(folder / "runs", ignore_errors=True)
    while not is_finished(folder):
        if wait(start(folder, command(folder, options))):
            break
    return len(statuses), statuses


def die_while_writing(rng: random.Random) -> Callable[[], None]:
    """Makes the n-th write of a checkpoint end with SIGKILL after a random part of its bytes."""
    countdown, share = rng.randrange(1, 12), rng.random()

    def before() -> None:
        whole = checkpoints.write_through
        left = [countdown]

        def partly(path: Path, data: bytes | memoryview) -> None:
            left[0] -= 1
            if left[0] == 0:
                whole(path, data[: int(len(data) * share)])
                os.kill(os.getpid(), signal.SIGKILL)
            whole(path, data)

        checkpoints.write_through = partly

    return before


def full_disk(rng: random.Random) -> Callable[[], None]:
    """From the n-th write of a checkpoint on, no file can grow beyond 100 kB."""
    countdown = rng.randrange(3, 7)  # behind the first epoch's two

    def before() -> None:
        whole = checkpoints.write_through
        left = [countdown]

        def limited(path: Path, data: bytes | memoryview) -> None:
            left[0] -= path.name.startswith(("last", "best"))
            if left[0] == 0:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            whole(path, data)

        checkpoints.write_through = limited

    return before


def compared(folder: Path, expected: dict[str, Any]) -> bool:
    """Whether the run gave the same bits."""
    run_dir = run_of(folder)
    if run_dir is None or not (run_dir / RESULT).is_file():
        print(f"  not finished: {(folder / 'output.txt').read_text()[-600:]}", file=sys.stderr)
        return False
    found = differing(content(run_dir), expected)
    if found:
        print(f"  differs: {found[:5]}", file=sys.stderr)
    return not found


def kills(scratch: Path, number: int, rng: random.Random) -> Iterator[Row]:
    """SIGKILL at random moments, SIGTERM and SIGINT at random moments, SIGKILL in the middle of a write."""
    share = max(1, number // len(CASES))
    for name, options in CASES.items():
        expected, seconds = reference(scratch / name / "reference", options)
        row = Row(f"SIGKILL at a random moment, {name}", lost="training since the last save: an epoch, or 10 minutes")
        tries = 0
        while row.tried < share:
            folder = scratch / name / f"killed{tries}"
            folder.mkdir()
            count, _ = interrupt(folder, options, seconds, signal.SIGKILL, min(3, share - row.tried), rng)
            row.tried += count
            row.survived += count * compared(folder, expected)
            shutil.rmtree(folder)
            tries += 1
        yield row
        for signum, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            row = Row(f"{signal.Signals(signum).name} at a random moment, {name}", lost="nothing")
            for i in range(max(1, share // 2)):
                folder = scratch / name / f"{signum}_{i}"
                folder.mkdir()
                count, statuses = interrupt(folder, options, seconds, signum, 1, rng)
                # 0: it had just finished; the signal itself, a shell's 143 or 130 too: it had not begun to listen
                right = all(found in (status, 0, -signum) for found in statuses)
                if not right:
                    print(f"  statuses {statuses}", file=sys.stderr)
                row.tried += count
                row.survived += count * (right and compared(folder, expected))
                shutil.rmtree(folder)
            yield row
    options = CASES["averaged weights"]
    expected, _ = reference(scratch / "writes", options)
    row = Row("SIGKILL while a file is written", lost="training since the last save")
    for i in range(max(1, number // 5)):
        folder = scratch / f"write{i}"
        folder.mkdir()
        row.tried += wait(start(folder, command(folder, options), die_while_writing(rng))) == -signal.SIGKILL
        if not is_finished(folder):
            wait(start(folder, command(folder, options)))
        row.survived += compared(folder, expected)
        shutil.rmtree(folder)
    row.survived = min(row.survived, row.tried)
    yield row
    row = Row("full disk while a checkpoint is written", lost="training since the last save")
    for i in range(max(1, number // 10)):
        folder = scratch / f"full{i}"
        folder.mkdir()
        row.tried += 1
        stopped = wait(start(folder, command(folder, options), full_disk(rng))) == 2
        said = (folder / "output.txt").read_text()
        run_dir = run_of(folder)
        is_whole = run_dir is not None and bool(read_checkpoint(run_dir / LAST))
        wait(start(folder, command(folder, options)))
        row.survived += stopped and "the disk is full" in said and is_whole and compared(folder, expected)
        shutil.rmtree(folder)
    yield row


def damages(scratch: Path, number: int, rng: random.Random) -> Iterator[Row]:
    """Truncated and altered checkpoints: refused by name, or equal."""
    folder = scratch / "damaged"
    folder.mkdir()
    wait(start(folder, command(folder, CASES["no workers"])))
    path = folder / LAST
    path.parent.mkdir()
    run_dir = run_of(folder)
    assert run_dir is not None
    whole = (run_dir / LAST).read_bytes()
    path.write_bytes(whole)
    expected = dict(leaves(read_checkpoint(path)))
    for fault in ("a checkpoint cut at a random byte", "a checkpoint with a random bit flipped"):
        row = Row(fault, lost="nothing: the file is refused by name, and the other one in the folder named")
        for _ in range(10 * number):
            position = rng.randrange(len(whole))
            flipped = whole[:position] + bytes([whole[position] ^ (1 << rng.randrange(8))]) + whole[position + 1 :]
            path.write_bytes(whole[:position] if "cut" in fault else flipped)
            row.tried += 1
            try:
                row.survived += not differing(dict(leaves(read_checkpoint(path))), expected)
            except InputError as error:
                row.survived += str(path) in str(error)
        yield row


def run(arguments: list[str] | None = None) -> int:
    """Try everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=105, help="SIGKILLs at random moments, over all cases")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a process that has used several cannot be forked
    rng = random.Random(options.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="visiontasks-") as scratch:
        for part in (damages, kills):
            for row in part(Path(scratch), options.kills, rng):
                rows.append(row)
                print(f"{row.fault}: {row.survived} of {row.tried}", file=sys.stderr, flush=True)
    print("| fault | tried | survived | what was lost |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.fault} | {row.tried} | {row.survived} | {row.lost} |")
    return int(any(row.survived < row.tried for row in rows))


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # what main imports late, so that every fork has it

    sys.exit(run())
