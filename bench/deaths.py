"""Kills one process of a training with SIGKILL, and measures how long the others outlive it.

    python bench/deaths.py --tries 5

Trainings of digits_resnet on the CPU (gloo), by the command itself and by torchrun with two nodes on this machine. Time
is counted from the signal until no process of the training is left, its loading processes included. A try is survived
if that takes no longer than 10 s, the status is not 0, and something on stderr says that a process has ended.
docs/reliability.md has the table of such a run. Linux only.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

LIMIT_S = 10.0
GIVEN_UP_S = 60.0
POLL_S = 0.05
MARK = "VISIONTASKS_DEATHS"  # environment variable that all processes of a try have
SAID = ("has ended", "ended with", "was ended by signal", "lost the connection", "was ended by SIGKILL")


@dataclass(frozen=True)
class Case:
    """A training, and which of its processes is killed.

    Args:
        rank: Of the one that is killed.
        processes: On each machine.
        nodes: Machines; more than one are started by torchrun.
        workers: Loading processes of each.
        kills_worker: Whether it is not the process itself that is killed, but one of its loading processes.
    """

    rank: int
    processes: int
    nodes: int = 1
    workers: int = 0
    kills_worker: bool = False

    def __str__(self) -> str:
        what = f"a loading process of rank {self.rank}" if self.kills_worker else f"rank {self.rank}"
        of = f"{what} of {self.nodes * self.processes} is killed"
        how = f", torchrun, {self.nodes} nodes of {self.processes}" if self.nodes > 1 else ""
        return of + how + (f", {self.workers} loading process(es) each" if self.workers else "")

    def commands(self) -> list[list[str]]:
        """One for each machine."""
        options = [
            *("-m", "visiontasks", "finetune", "digits_resnet", "--trainer.accelerator", "cpu"),
            *("--trainer.devices", str(self.processes), "--trainer.num_nodes", str(self.nodes)),
            *("--trainer.max_epochs", "200", "--data.batch_size", "16", "--data.num_workers", str(self.workers)),
        ]
        if self.nodes == 1:
            return [[sys.executable, *options]]
        launch = [sys.executable, "-m", "torch.distributed.run", "--master-addr", "127.0.0.1"]
        launch += ["--master-port", str(free_port()), "--nproc-per-node", str(self.processes)]
        nodes = [["--nnodes", str(self.nodes), "--node-rank", str(node)] for node in range(self.nodes)]
        return [[*launch, *node, *options] for node in nodes]


CASES = (
    Case(rank=1, processes=2),
    Case(rank=0, processes=2),
    Case(rank=2, processes=3),
    Case(rank=1, processes=2, workers=1),
    Case(rank=0, processes=2, workers=1),
    Case(rank=0, processes=2, nodes=2),
    Case(rank=3, processes=2, nodes=2),
    Case(rank=0, processes=1, workers=2, kills_worker=True),
    Case(rank=1, processes=2, workers=1, kills_worker=True),
)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def marked(mark: str) -> dict[int, dict[str, str]]:
    """All living processes of a try and their environment, by id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parts = (folder / "environ").read_bytes().split(b"\0")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # another user's, or it has ended just now
            continue
        environment = dict(part.decode(errors="replace").partition("=")[::2] for part in parts)
        if environment.get(MARK) == mark and state not in "ZX":
            found[int(folder.name)] = environment
    return found


def process_of(case: Case, mark: str) -> int:
    """The id of the process that is to be killed; its loading processes came after it."""
    key, none = ("RANK", "launcher") if case.nodes > 1 else ("LOCAL_RANK", "0")  # the first one has no variable
    pick = max if case.kills_worker else min
    return pick(pid for pid, given in marked(mark).items() if given.get(key, none) == str(case.rank))


def try_once(case: Case, folder: Path, rng: random.Random) -> tuple[float, bool]:
    """Train, kill after the first epoch, wait.

    Returns:
        Seconds until all had ended, and whether that was told and no status was 0.
    """
    folder.mkdir()
    environment = {**os.environ, MARK: str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    logs = [(folder / f"{node}.out", folder / f"{node}.err") for node in range(case.nodes)]
    started = []
    for command, (output, errors) in zip(case.commands(), logs, strict=True):
        with output.open("w") as out, errors.open("w") as err:
            started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err))
    try:
        while "epoch 1/" not in logs[0][0].read_text():
            if any(process.poll() is not None for process in started):
                sys.exit(f"{case}: ended before its first epoch:\n{logs[0][1].read_text()}")
            time.sleep(POLL_S)
        time.sleep(rng.uniform(0, 2))
        begin = time.monotonic()
        os.kill(process_of(case, str(folder)), signal.SIGKILL)
        while marked(str(folder)) and time.monotonic() - begin < GIVEN_UP_S:
            for process in started:
                process.poll()  # else it stays as a zombie, which torchrun's other node does not see
            time.sleep(POLL_S)
        seconds = time.monotonic() - begin
    finally:
        for pid in marked(str(folder)):
            os.kill(pid, signal.SIGKILL)
    said = "".join(errors.read_text() for _, errors in logs)
    is_told = any(text in said for text in SAID) and all(process.wait() for process in started)
    if not is_told or seconds > LIMIT_S:
        print(f"{case}: {seconds:.1f} s, statuses {[p.returncode for p in started]}:\n{said}", file=sys.stderr)
    return seconds, is_told


def main(arguments: Sequence[str] | None = None) -> int:
    """Try every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=5, help="of each case")
    options = parser.parse_args(arguments)
    rng = random.Random(0)
    print("| fault | tried | ended within 10 s, with a message | seconds: median, longest |\n|---|---|---|---|")
    lost = 0
    with tempfile.TemporaryDirectory(prefix="visiontasks-") as scratch:
        for i, case in enumerate(CASES):
            tries = [try_once(case, Path(scratch) / f"{i}_{turn}", rng) for turn in range(options.tries)]
            seconds = [taken for taken, _ in tries]
            good = sum(taken <= LIMIT_S and is_told for taken, is_told in tries)
            lost += len(tries) - good
            print(f"| {case} | {len(tries)} | {good} | {median(seconds):.1f}, {max(seconds):.1f} |", flush=True)
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
