"""Loading processes and a small /dev/shm, or their sudden end: one message, and no wait."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.utils.data import get_worker_info

from visiontasks.commands.main import main
from visiontasks.data import DataModule
from visiontasks.data.pipeline import shared_memory
from visiontasks.data.pipeline.loader import SplitDataset, end_workers
from visiontasks.data.pipeline.shared_memory import LoadingProcessError, check_room, describe_lost_worker

MakeData = Callable[..., DataModule]
WAY_OUT = r"load in the main process \(--data.num_workers 0\)"
SHORT = [
    *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
    *("--data.num_workers", "2"),
]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`free(1000)`: so many bytes of /dev/shm are free."""
    return lambda size: monkeypatch.setattr(shared_memory, "free_bytes", lambda: size)


def test_batches_that_do_not_fit_are_refused_before_a_loader_is_made(
    make_data: MakeData, free: Callable[[int], None]
) -> None:
    data = make_data(train=23, val=5, side_px=8, batch_size=4, num_workers=2)
    data.setup()
    free(2 * 2 * 4 * 8 * 8 * 3)  # two processes, two batches each, 4 images of 8x8 pixels
    data.train_dataloader()
    free(2 * 2 * 4 * 8 * 8 * 3 - 1)
    with pytest.raises(LoadingProcessError, match=f"init_args.num_workers: 2 loading .* 0.0 MB free: {WAY_OUT}, make"):
        data.train_dataloader()
    free(5 * 8 * 8 * 3)  # all that the validation split has
    data.val_dataloader()
    free(5 * 8 * 8 * 3 - 1)
    with pytest.raises(LoadingProcessError, match="2 batches each"):
        data.val_dataloader()


def test_the_default_of_containers_is_named_in_megabytes(free: Callable[[int], None]) -> None:
    free(64 * 2**20)
    check_room(2, batch_size=64, num_samples=1000, sample_bytes=224 * 224 * 3)  # 38.5 MB
    with pytest.raises(LoadingProcessError) as refused:
        check_room(2, batch_size=128, num_samples=1000, sample_bytes=224 * 224 * 3)
    assert str(refused.value) == (
        "data.init_args.num_workers: 2 loading processes prepare up to 2 batches each, 77.1 MB in /dev/shm, which has "
        "67.1 MB free: load in the main process (--data.num_workers 0), make data.init_args.batch_size smaller, or "
        "give more shared memory (a container: docker run --shm-size 2g)"
    )


def test_the_main_process_needs_no_shared_memory(make_data: MakeData, free: Callable[[int], None]) -> None:
    free(0)
    data = make_data(batch_size=4, num_workers=0)
    data.setup()
    assert len(list(data.train_dataloader())) == 5


def test_no_shared_memory_at_all_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shared_memory, "FOLDER", tmp_path / "shm")
    with pytest.raises(LoadingProcessError, match=rf"cannot use shared memory .*No such file.*{WAY_OUT}, or give more"):
        check_room(1, batch_size=1, num_samples=1, sample_bytes=1)


def test_processes_that_cannot_be_started_are_refused(make_data: MakeData, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(38, "Function not implemented")  # of a semaphore without /dev/shm

    data = make_data(batch_size=4, num_workers=1)
    data.setup()
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__init__", fail)
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__del__", lambda self: None)
    with pytest.raises(LoadingProcessError, match=f"Function not implemented; {WAY_OUT}"):
        iter(data.train_dataloader())


def test_shared_memory_that_fills_up_ends_the_loading(make_data: MakeData, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensor: Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", fail)
    data = make_data(batch_size=4, num_workers=2)
    data.setup()
    begin = time.monotonic()
    with pytest.raises(LoadingProcessError) as ended:
        next(iter(data.train_dataloader()))
    assert str(ended.value) == (
        "loading processes cannot use shared memory (/dev/shm): unable to allocate shared memory(shm) for file "
        "</torch_1>: No space left on device (28); load in the main process (--data.num_workers 0), or give more "
        "shared memory (a container: docker run --shm-size 2g)"
    )
    assert time.monotonic() - begin < 10


def die(monkeypatch: pytest.MonkeyPatch, signum: int, epoch: int) -> None:
    """Let each loading process end by a signal at its first sample of an epoch."""
    whole = SplitDataset.__getitem__

    def sample(self: SplitDataset, key: Any) -> Any:
        if get_worker_info() is not None and (epoch == 0 or (isinstance(key, tuple) and key[0] == epoch)):
            os.kill(os.getpid(), signum)
        return whole(self, key)

    monkeypatch.setattr(SplitDataset, "__getitem__", sample)


@pytest.mark.parametrize(
    ("signum", "reason"),
    [
        (signal.SIGKILL, "was ended by SIGKILL, as the system does when memory runs out"),
        (signal.SIGBUS, r"was ended by SIGBUS, as when shared memory \(/dev/shm\) or a disk is full"),
    ],
    ids=["SIGKILL", "SIGBUS"],
)
def test_a_loading_process_that_is_killed_ends_the_loading(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch, capfd: Any, signum: int, reason: str
) -> None:
    die(monkeypatch, signum, epoch=0)
    data = make_data(batch_size=4, num_workers=2)
    data.setup()
    begin = time.monotonic()
    with pytest.raises(LoadingProcessError, match=rf"^a loading process \(pid \d+\) {reason}: {WAY_OUT}, or use fewer"):
        list(data.train_dataloader())
    assert time.monotonic() - begin < 10
    assert capfd.readouterr().err == ""


def test_a_process_that_ends_does_not_wait_for_loading_processes(make_data: MakeData) -> None:
    data = make_data(batch_size=4, num_workers=2)
    data.setup()
    batches = iter(data.train_dataloader())
    next(batches)
    workers = [process for process in multiprocessing.active_children() if process.daemon]
    assert len(workers) >= 2
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        end_workers()
        for worker in workers:
            worker.join(5)
            assert worker.exitcode == -signal.SIGKILL
    finally:
        signal.signal(signal.SIGCHLD, handler)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "a loading process (pid 7, 8) exited un"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. "),
            "is killed by signal: Terminated:",
        ),
        (RuntimeError("received 0 items of ancdata"), "too many open files (ulimit -n) for the batches of loading"),
        (ConnectionResetError(104, "Connection reset by peer"), "the connection to a loading process was lost ([Errno"),
        (EOFError(), "the connection to a loading process was lost (it has ended): load in the main process (--data"),
        (EOFError("Caught EOFError in DataLoader worker process 0."), ""),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ""),
    ],
)
def test_what_is_said_of_a_loading_process_that_ended(error: Exception, message: str) -> None:
    found = describe_lost_worker(error)
    assert message in found
    assert bool(found) == bool(message)


@pytest.mark.slow
def test_a_training_whose_loading_process_is_killed_says_how_to_go_on(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[[str], str]
) -> None:
    command = f"finetune digits_lenet {' '.join(SHORT)} --data.batch_size 4 --finetune.freeze_epochs 0"
    with monkeypatch.context() as patch:
        die(patch, signal.SIGKILL, epoch=1)
        said = refused(command).splitlines()
    (run_dir,) = Path("runs/digits_lenet").iterdir()
    assert said[0].startswith("error: a loading process (pid ")
    assert said[1] == "to go on:"
    assert said[2] == f"visiontasks finetune {run_dir}/recipe.yaml --resume {run_dir} --data.num_workers 0"
    assert len(said) == 3
    assert main(said[2].split()[1:]) == 0
    with monkeypatch.context() as patch:
        die(patch, signal.SIGKILL, epoch=0)
        (line,) = refused(f"evaluate {run_dir} --data.num_workers 2").splitlines()
    assert "was ended by SIGKILL, as the system does when memory runs out" in line


FULL = """
import sys
from visiontasks.data import base
from visiontasks.commands.main import main
base.check_room = lambda *_, **__: None
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "options", "reason"),
    [
        ("1m", [], "which has 1.0 MB free"),
        ("64m", ["--data.image_size", "224", "--data.batch_size", "256"], "which has 67.1 MB free"),
        ("1m", None, "No space left on device"),
    ],
    ids=["1 MB", "64 MB", "1 MB, found only when it is full"],
)
def test_a_small_shared_memory_ends_with_the_way_out(
    in_tmp: Path, size: str, options: list[str] | None, reason: str
) -> None:
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "sh", "-c", mount], check=False).returncode:
        pytest.skip("mounting another /dev/shm is not permitted here (unshare -m)")
    program = ["-c", FULL] if options is None else ["-m", "visiontasks"]
    sizes = ["--data.image_size", "128", "--data.batch_size", "64", *(options or [])]
    command = [sys.executable, *program, "finetune", "digits_lenet", *SHORT, "--finetune.freeze_epochs", "0", *sizes]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert "--data.num_workers 0" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
