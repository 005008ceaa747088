"""Several processes: the same numbers as from one, and none goes on alone when another ends."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import SGD

from bench.deaths import MARK, free_port, marked
from bench.reliability import content, differing
from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.finetune import finetune
from visiontasks.data import DataModule, DigitGroups, Digits, DigitScenes
from visiontasks.data.pipeline.sampler import EvalSampler
from visiontasks.errors import InputError
from visiontasks.finetuning.freezing import checksum
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.heads import DetectionHead, FasterRCNNHead, FCOSHead, RetinaNetHead
from visiontasks.recipe import find_recipe
from visiontasks.tasks import ClassificationTask, DetectionTask, LocalizationTask, SegmentationTask, Task
from visiontasks.tasks.base import Batch
from visiontasks.training.processes import describe_end, is_lost_connection

QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
QUIET |= {"enable_model_summary": False, "accelerator": "cpu", "use_distributed_sampler": False}
CPU = "--trainer.accelerator cpu --data.num_workers 0"
LONG = f"{CPU} --trainer.max_epochs 300"
ENDS_WITHIN_S = 20  # seconds on an idle machine are a few
BATCH_SIZE = 59  # of 359 samples: a third has 119, the last of them alone

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Experiment logs directory"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning"),
]


def forked(processes: int) -> dict[str, Any]:
    return {"devices": processes, "strategy": "ddp_fork" if processes > 1 else "auto"}


class Writes(Callback):
    """Writes each process's checksums after each epoch, and its weights at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checksums: list[dict[str, int]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        torch.set_num_threads(1)  # a forked process has none of the parent's threads

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.checksums.append({name: checksum(p) for name, p in pl_module.named_parameters()})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        content = {"checksums": self.checksums, "state": pl_module.state_dict()}
        torch.save(content, self.folder / f"{trainer.world_size}_{trainer.global_rank}.pt")


def test_two_processes_with_half_the_batch_follow_one_and_stay_identical(tmp_path: Path) -> None:
    for processes in (1, 2):
        torch.manual_seed(0)
        optimizer = partial(SGD, lr=0.05, momentum=0.9, weight_decay=5e-4)
        task = ClassificationTask("lenet5", weights="none", num_classes=10, in_chans=1, optimizer=optimizer)
        data = Digits(image_size=32, batch_size=32 // processes, num_workers=0, seed=0)
        callbacks = [FinetuneSchedule(1, unfreeze="stages"), Writes(tmp_path)]
        limits = {"max_epochs": 4, "limit_train_batches": 3, "limit_val_batches": 0, "num_sanity_val_steps": 0}
        Trainer(callbacks=callbacks, **limits, **QUIET, **forked(processes)).fit(task, datamodule=data)
    one, two, other = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1"))
    assert len(two["checksums"]) == 4 * 3
    assert two["checksums"] == other["checksums"]
    for name, tensor in one["state"].items():
        torch.testing.assert_close(two["state"][name], tensor, rtol=0, atol=1e-6)


def classification() -> tuple[Task, DataModule]:
    task = ClassificationTask("lenet5", weights="none", num_classes=10, in_chans=1)
    return task, Digits(image_size=32, batch_size=BATCH_SIZE, num_workers=0)


def localization() -> tuple[Task, DataModule]:
    data = DigitScenes(scenes_per_digit=1, batch_size=BATCH_SIZE, num_workers=0)
    return LocalizationTask("resnet20_cifar", weights="none", num_classes=10), data


def segmentation() -> tuple[Task, DataModule]:
    data = DigitScenes(target="mask", scenes_per_digit=1, image_size=32, batch_size=BATCH_SIZE, num_workers=0)
    return SegmentationTask("resnet20_cifar", weights="none", num_classes=11), data


def detection() -> tuple[Task, DataModule]:
    data = DigitGroups(scenes_per_digit=1, batch_size=BATCH_SIZE, num_workers=0)
    task = DetectionTask("resnet20_cifar", weights="none", num_classes=10, head=partial(FCOSHead, width=8))
    return task, data


@pytest.mark.parametrize(
    "make",
    [
        classification,
        pytest.param(detection, marks=pytest.mark.slow),
        pytest.param(localization, marks=pytest.mark.slow),
        pytest.param(segmentation, marks=pytest.mark.slow),
    ],
)
def test_one_two_and_three_processes_measure_the_same_to_the_last_digit(
    make: Callable[[], tuple[Task, DataModule]],
) -> None:
    torch.manual_seed(0)
    task, data = make()
    for parameter in task.head.parameters():  # layers that begin with zeros would say the same of every image
        torch.nn.init.normal_(parameter, std=0.1)
    task.on_test_start = lambda: torch.set_num_threads(1)
    found = []
    for processes in (1, 2, 3):
        trainer = Trainer(**QUIET, **forked(processes))
        trainer.test(task, datamodule=data, verbose=False)
        found.append({name: value.item() for name, value in trainer.callback_metrics.items()})
    assert found[0]["test/n"] == len(data.source("test"))
    assert found[0] == found[1] == found[2]


class HalfEmpty(DetectionTask):
    """The second process sees no object."""

    def training_loss(self, batch: Batch) -> torch.Tensor:
        if self.global_rank == 1:
            for name in ("boxes", "labels", "crowd"):
                batch = batch | {name: [each[:0] for each in batch[name]]}
        return super().training_loss(batch)


@pytest.mark.slow
@pytest.mark.parametrize("head", [FCOSHead, RetinaNetHead, FasterRCNNHead])
def test_a_process_without_any_object_in_its_batch_trains_on(head: type[DetectionHead], tmp_path: Path) -> None:
    """Of two processes one has images without objects, the other one with some; parameters stay identical."""
    torch.manual_seed(0)
    task = HalfEmpty("resnet20_cifar", weights="none", num_classes=10, head=partial(head, width=8))
    limits = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0, "num_sanity_val_steps": 0}
    data = DigitGroups(scenes_per_digit=1, batch_size=2, num_workers=0)
    Trainer(callbacks=[Writes(tmp_path)], **limits, **QUIET, **forked(2)).fit(task, datamodule=data)
    one, other = (torch.load(tmp_path / f"2_{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(one["checksums"]) == 2
    assert one["checksums"] == other["checksums"]
    assert one["checksums"][0] != one["checksums"][1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training of LeNet-5 on Digits, only to be read."""
    options = "--trainer.max_epochs 1 --trainer.limit_train_batches 4 --data.num_workers 0"
    return finetune(find_recipe("digits_lenet"), options.split(), runs=tmp_path_factory.mktemp("runs"))[0]


def test_the_number_evaluated_is_reported(trained: Path) -> None:
    assert json.loads((trained / "result.json").read_text())["samples"] == {"evaluated": 359, "of": 359}
    limited = evaluate(trained, ["--trainer.limit_test_batches", "2", "--data.batch_size", "50"])
    assert limited["samples"] == {"evaluated": 100, "of": 359}
    assert limited["metrics"]["test/top1"]["n"] == 100


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (range(358), "358 of the 359 samples of the test split were evaluated, 0 repeatedly"),
        ([*range(359), 7], "359 of the 359 samples of the test split were evaluated, 1 repeatedly"),
        ([*range(358), 7], "358 of the 359 samples of the test split were evaluated, 1 repeatedly"),
    ],
)
def test_a_wrong_number_of_samples_is_an_error(
    rows: list[int], message: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EvalSampler, "__iter__", lambda self: iter(rows))
    monkeypatch.setattr(EvalSampler, "__len__", lambda self: len(rows))
    with pytest.raises(InputError, match=f"{message}.*loaders of Digits must give each sample once"):
        evaluate(trained, [])


@pytest.mark.parametrize(
    ("returncode", "message"),
    [
        (-9, "was ended by signal 9 (SIGKILL), as the system does when memory runs out; the others were ended too"),
        (-11, "was ended by signal 11 (SIGSEGV); the others were ended too"),
        (2, "ended with exit status 2, see its output above; the others were ended too"),
    ],
)
def test_the_end_of_a_process_is_described(returncode: int, message: str) -> None:
    assert describe_end(1, 3, 4711, returncode) == f"process 1 of 3 (counted from 0, pid 4711) {message}"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer"), True),
        (RuntimeError("Connection reset by peer"), True),
        (torch.distributed.DistNetworkError("failed to recv"), True),
        (torch.distributed.DistBackendError("NCCL communicator was aborted"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ConnectionResetError("Connection reset by peer"), False),  # of a download
    ],
)
def test_a_lost_connection_is_distinguished_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_lost_connection(error) is expected


# from here on real processes, started as a user does


def visiontasks(command: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
    return start(f"{shlex.quote(sys.executable)} -m visiontasks {command}", folder, **options)


def start(command: str, folder: Path, name: str = "0") -> subprocess.Popen[str]:
    with (folder / f"{name}.out").open("w") as out, (folder / f"{name}.err").open("w") as err:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", MARK: str(folder)}
        return subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            stdout=out,
            stderr=err,
            env=environment,
            text=True,
            start_new_session=True,
        )


def wait_for(text: str, process: subprocess.Popen[str], folder: Path) -> None:
    while text not in (folder / "0.out").read_text():
        assert process.poll() is None, (folder / "0.err").read_text()
        time.sleep(0.1)


def ranks_of(folder: Path, variable: str, default: str = "") -> dict[int, int]:
    """The process of each rank; the first one that Lightning starts has no rank in its environment."""
    ranks: dict[int, int] = {}
    for pid, environment in sorted(marked(str(folder)).items()):  # torchrun's have sessions of their own
        rank = environment.get(variable, default)
        if rank:
            ranks.setdefault(int(rank), pid)
    return ranks


def wait_for_end(folder: Path) -> None:
    """Wait until no process of a folder is left."""
    begin = time.monotonic()
    while marked(str(folder)):
        assert time.monotonic() - begin < ENDS_WITHIN_S, "processes are left"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def left_processes(tmp_path: Path) -> Iterator[None]:
    """Ends behind a test what it has started."""
    yield
    for pid in marked(str(tmp_path)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


@pytest.mark.slow
@linux
@pytest.mark.parametrize(("world_size", "rank", "num_workers"), [(2, 1, 0), (3, 2, 1), (2, 0, 1)])
def test_a_killed_process_ends_the_others_with_a_message(
    world_size: int, rank: int, num_workers: int, tmp_path: Path
) -> None:
    options = f"{LONG} --trainer.devices {world_size} --data.num_workers {num_workers}"
    process = visiontasks(f"finetune digits_resnet {options}", tmp_path)
    wait_for("epoch 2/", process, tmp_path)  # by then the first epoch is saved
    killed = ranks_of(tmp_path, "LOCAL_RANK", default="0")[rank]
    os.kill(killed, signal.SIGKILL)
    assert process.wait(ENDS_WITHIN_S) == (-signal.SIGKILL if rank == 0 else 2)
    wait_for_end(tmp_path)
    lines = (tmp_path / "0.err").read_text().splitlines()
    assert len(lines) <= 5, lines
    if rank == 0:
        assert lines[0].startswith(
            f"error: the process that started this one (pid {killed}) has ended without a message"
        )
    else:
        start = f"error: process {rank} of {world_size} (counted from 0, pid {killed}) was ended by signal 9 (SIGKILL)"
        assert lines[0].startswith(start)
        assert "--resume runs/digits_resnet/" in lines[-1]


@pytest.mark.slow
@linux
def test_two_processes_that_are_stopped_and_resumed_end_with_the_same_bits(tmp_path: Path) -> None:
    options = f"{CPU} --trainer.devices 2 --trainer.max_epochs 3 --finetune.freeze_epochs 1 --data.batch_size 32"
    folders = [tmp_path / "whole", tmp_path / "stopped"]
    for folder in folders:
        folder.mkdir()
    process = visiontasks(f"finetune digits_resnet {options}", folders[0])
    assert process.wait(120) == 0, (folders[0] / "0.err").read_text()
    process = visiontasks(f"finetune digits_resnet {options}", folders[1])
    wait_for("epoch 1/", process, folders[1])
    time.sleep(0.5)  # into the second epoch, in which everything is trained
    process.send_signal(signal.SIGTERM)
    assert process.wait(ENDS_WITHIN_S) == 128 + signal.SIGTERM
    (run_dir,) = (folders[1] / "runs" / "digits_resnet").iterdir()
    process = visiontasks(f"finetune digits_resnet {options} --resume {run_dir}", folders[1], name="resumed")
    assert process.wait(120) == 0, (folders[1] / "resumed.err").read_text()
    whole, stopped = (content(next((folder / "runs" / "digits_resnet").iterdir())) for folder in folders)
    assert differing(stopped, whole) == []


@pytest.mark.slow
@linux
def test_an_error_in_one_process_ends_the_others_and_is_told_once(
    tmp_path: Path, class_folders: Callable[..., Path]
) -> None:
    root = class_folders(tmp_path / "photos", {"train/cat": 20, "train/dog": 20, "val/cat": 5, "val/dog": 5})
    options = f"--data ImageFolder --data.root {root} --data.batch_size 4 --data.cache_images_gb 0 --model.in_chans 3"
    process = visiontasks(f"finetune digits_lenet {options} {LONG} --trainer.devices 2", tmp_path)
    wait_for("epoch 1/", process, tmp_path)
    image = next((root / "train" / "cat").iterdir())
    image.unlink()  # one process of two meets it
    assert process.wait(2 * ENDS_WITHIN_S) == 2  # an epoch may pass until it does
    wait_for_end(tmp_path)
    lines = (tmp_path / "0.err").read_text().splitlines()
    assert len(lines) <= 5, lines
    assert sum(image.name in line for line in lines) == 1


def two_nodes(command: str, folder: Path) -> list[subprocess.Popen[str]]:
    """Start two torchruns of two processes each on this machine."""
    places = f"--nnodes 2 --nproc-per-node 2 --master-addr 127.0.0.1 --master-port {free_port()}"
    options = "--trainer.num_nodes 2 --trainer.devices 2 --data.batch_size 16"
    run = f"{shlex.quote(sys.executable)} -m torch.distributed.run {places}"
    return [
        start(f"{run} --node-rank {node} -m visiontasks {command} {options}", folder, name=str(node)) for node in (0, 1)
    ]


@pytest.mark.slow
@linux
def test_torchrun_with_two_nodes_trains_one_run_from_the_same_recipe(tmp_path: Path) -> None:
    options = f"{CPU} --trainer.max_epochs 2 --finetune.freeze_epochs 1 --trainer.limit_train_batches 3"
    nodes = two_nodes(f"finetune digits_resnet {options}", tmp_path)
    assert [node.wait(120) for node in nodes] == [0, 0], (tmp_path / "0.err").read_text()
    (run_dir,) = (tmp_path / "runs" / "digits_resnet").iterdir()
    result = json.loads((run_dir / "result.json").read_text())
    assert result["samples"] == {"evaluated": 359, "of": 359}
    assert result["metrics"]["test/top1"]["n"] == 359
    shown = [(tmp_path / f"{node}.out").read_text().count("epoch 2/2") for node in (0, 1)]
    assert shown == [1, 0]
    again = evaluate(run_dir, ["--data.batch_size", "16", "--trainer.devices", "1"])
    assert again["metrics"] == result["metrics"]


@pytest.mark.slow
@linux
@pytest.mark.parametrize("rank", [0, 3])
def test_torchrun_ends_all_when_one_is_killed(rank: int, tmp_path: Path) -> None:
    nodes = two_nodes(f"finetune digits_resnet {LONG}", tmp_path)
    wait_for("epoch 1/", nodes[0], tmp_path)
    pids = ranks_of(tmp_path, "RANK")
    os.kill(pids[rank], signal.SIGKILL)
    assert all(node.wait(ENDS_WITHIN_S) for node in nodes)
    wait_for_end(tmp_path)
    told = "".join((tmp_path / f"{node}.err").read_text() for node in (0, 1))
    assert "lost the connection to another one, which has ended or cannot be reached" in told
    assert f"Signal 9 (SIGKILL) received by PID {pids[rank]}" in told  # torchrun's report


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("digits_resnet", "--data.batch_size 50"),
        ("digits_localize", "--data.scenes_per_digit 1 --data.batch_size 50"),
        ("digits_segment", "--data.scenes_per_digit 1 --data.batch_size 50"),
        ("digits_detect", "--data.scenes_per_digit 1 --model.init_args.head.init_args.width 8"),
    ],
)
def test_any_number_of_processes_measures_the_same_through_the_command(
    recipe: str, options: str, tmp_path: Path
) -> None:
    short = f"{CPU} {options} --trainer.max_epochs 2 --finetune.freeze_epochs 0 --trainer.limit_train_batches 4"
    # with half the batch: the val split then has batches that do not divide either
    process = visiontasks(f"finetune {recipe} {short} --data.batch_size 25 --trainer.devices 2", tmp_path)
    assert process.wait(300) == 0, (tmp_path / "0.err").read_text()
    (run_dir,) = (tmp_path / "runs" / recipe).iterdir()
    of_training = json.loads((run_dir / "result.json").read_text())
    found = {}
    for processes in (1, 2, 3):
        process = visiontasks(
            f"evaluate {run_dir} {CPU} --data.batch_size 25 --trainer.devices {processes}", tmp_path, name=recipe
        )
        assert process.wait(300) == 0, (tmp_path / f"{recipe}.err").read_text()
        tables = [run_dir / "predictions_test.csv", *run_dir.glob("confusion_test.csv")]
        table = [line for path in tables for line in path.read_text().splitlines()]
        found[processes] = table + (tmp_path / f"{recipe}.out").read_text().splitlines()[2:]  # without the title
    assert found[1] == found[2] == found[3]
    n = of_training["samples"]["of"]
    assert any(f"{n}/{n}" in line or line.split()[-1:] == [f"{n}"] for line in found[1])  # n alone of what is no share
    in_process = evaluate(run_dir, ["--data.batch_size", "25", "--data.num_workers", "0", "--trainer.devices", "1"])
    assert in_process["metrics"] == of_training["metrics"]
    assert in_process["class_metrics"] == of_training["class_metrics"]
    # what the best epoch was chosen by is what the saved weights give, in spite of BatchNorm's own statistics
    chosen = of_training["chosen_by"]
    val = evaluate(
        run_dir, ["--data.batch_size", "25", "--data.num_workers", "0", "--trainer.devices", "1"], split="val"
    )
    assert val["metrics"][chosen["monitor"]]["value"] == pytest.approx(chosen["value"], rel=1e-7)
