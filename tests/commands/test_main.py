"""The commands as a user types them: what they print, and what they answer to wrong input."""

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import visiontasks.backbones  # noqa: F401  registers lenet5 with timm
from visiontasks import __version__
from visiontasks.commands.main import main
from visiontasks.errors import InputError
from visiontasks.heads import LinearHead
from visiontasks.recipe import list_recipes
from visiontasks.tasks import ClassificationTask

# the end of a training on Digits as short as can be
Refused = Callable[[str], str]
SHORT = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1"


def test_a_long_answer_is_cut_to_five_lines(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    def refuse() -> None:
        raise InputError("1\n\n2\n3\n4\n5\n6")

    monkeypatch.setattr("visiontasks.commands.recipes.list_recipes", refuse)
    assert refused("recipes") == "error: 1\n2\n3\n4\n5\n"


def test_a_fault_of_the_program_keeps_its_traceback(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(ClassificationTask, "training_loss", fault)
    with pytest.raises(ValueError, match="^a bug$"):
        main(shlex.split(f"finetune digits_lenet {SHORT}"))
    monkeypatch.setattr(LinearHead, "__init__", fault)
    with pytest.raises(ValueError, match="^a bug$"):
        main(shlex.split(f"finetune digits_lenet {SHORT}"))


def test_an_io_error_that_no_user_causes_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("visiontasks.commands.recipes.list_recipes", fault)
    with pytest.raises(OSError, match="Bad file descriptor"):
        main(["recipes"])


def test_running_out_of_memory_names_the_batch_size(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    def fill(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(ClassificationTask, "training_loss", fill)
    error = refused(f"finetune digits_lenet {SHORT}")
    assert "out of memory with --batch-size 32 and image_size 32x32: make one of them smaller" in error


def test_interruption_ends_with_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("visiontasks.commands.recipes.list_recipes", interrupt)
    assert main(["recipes"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupted_training_says_so_with_status_130(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassificationTask, "training_loss", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert main(shlex.split(f"finetune digits_lenet {SHORT}")) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert capsys.readouterr().err.endswith("interrupted\n")


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    # the environment that Python shows: readline, which pytest imports, adds COLUMNS to the one that C inherits
    return subprocess.run(
        [sys.executable, "-m", "visiontasks", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )


def test_an_unknown_recipe_is_answered_within_a_second_and_without_torch() -> None:
    code = (
        "import sys; from visiontasks.commands import main; "
        "print(main.main(['finetune', 'digits_resnt'])); print(*sys.modules)"
    )
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.monotonic() - start)
    assert min(times) < 1
    status, *modules = done.stdout.split()
    assert status == "2"
    assert {"torch", "lightning", "numpy", "jsonargparse"}.isdisjoint(modules)


def test_recipes_are_listed_within_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = run_command("recipes")
        times.append(time.monotonic() - start)
    assert min(times) < 1
    assert done.returncode == 0
    assert done.stderr == ""
    rows = takewhile(bool, done.stdout.splitlines())  # notes follow where COLUMNS is set
    assert [row.split()[0] for row in rows] == [
        "recipe",
        *(recipe.name for recipe in list_recipes()),
    ]


@pytest.mark.parametrize("command", ["backbones", "cache", "recipes digits_lenet"])
def test_what_only_lists_imports_nothing_heavy(command: str) -> None:
    code = f"import sys; from visiontasks.commands import main; main.main({command.split()}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "lightning", "numpy", "timm", "jsonargparse"}.isdisjoint(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_a_training_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    code = "import sys; from visiontasks.commands import main; main.main(['finetune', 'digits_resnet', '--quick']); "
    code += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    unused = {"sympy", "triton", "torch._inductor", "torch.distributed.fsdp", "sklearn", "scipy.stats", "scipy.signal"}
    unused |= {"matplotlib.pyplot", "pandas", "transformers", "onnxruntime"}
    assert unused.isdisjoint(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_a_wrong_key_ends_a_process_with_status_2_and_one_line() -> None:
    done = run_command("finetune", "digits_lenet", "--trainer.max_epoch", "3")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: unknown key max_epoch in trainer: did you mean max_epochs, min_epochs or max_steps?\n"


def test_a_reader_that_closes_the_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m visiontasks recipes | true",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"visiontasks {__version__}\n"


def test_help_of_finetune_shows_short_options_and_how_to_set_any_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["finetune", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--model.head.dropout 0.5" in text
    assert "--epochs N passes over the training images (trainer.max_epochs); default: 10" in text
    assert "The defaults are those of folder_resnet;" in text
    assert all(option in text for option in ("--quick", "--out FOLDER", "--name NAME", "--task TASK", "--device D"))


def test_help_with_a_recipe_shows_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["finetune", "digits_resnet", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(trainer.max_epochs); default: 8" in text
    assert "(model.optimizer.lr); default: 0.05" in text
    assert "(data.num_workers); default: by the processor's cores" in text


def test_all_keys_can_be_printed(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["finetune", "digits_lenet", "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["trainer"]["max_epochs"] == 30
    assert printed["data"]["init_args"]["resize"] == "crop"


def test_weights_that_cannot_be_had_are_missed_before_the_slow_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "visiontasks.commands.finetune", None)  # an import of it fails from here on
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "1.png")
    assert main(["finetune", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no weights for resnet18.a1_in1k" in line
    assert "give --weights a file" in line


@pytest.mark.parametrize("overrides", ["", "--data CIFAR10 --data.root nowhere", "--data.download=true"])
def test_data_that_cannot_be_had_is_missed_before_the_slow_imports(
    overrides: str, in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "visiontasks.commands.finetune", None)
    assert main(shlex.split(f"finetune mnist_lenet {overrides}")) == 2
    assert "and it cannot be downloaded from http" in capsys.readouterr().err
