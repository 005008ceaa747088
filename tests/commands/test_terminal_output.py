"""What a whole training prints, from its first line to its last, in a log and in a terminal."""

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.main import main
from visiontasks.training import run_progress
from visiontasks.training.status_line import ERASE

SHORT = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "8", "--data.num_workers", "0"]
NUMBER = r"\d\.\d{4}"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Experiment logs directory"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
]


def test_a_training_in_a_log(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "digits_lenet", *SHORT]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "1,797 images, 10 classes: 0 178, 1 182, 2 177, 3 183, 4 181, 5 182, 6 181, 7 179, 8 174, 9 180. train 1,078, "
        "val 360, test 359 (split for you)",
        "epochs 1-2: head and backbone",
    ]
    for epoch, line in enumerate(lines[2:4], start=1):
        metrics = rf"train/loss {NUMBER}  val/loss {NUMBER}  val/top1 {NUMBER}"
        assert re.fullmatch(rf"epoch {epoch}/2  {metrics} +\d+\.\d s(  best)?", line)
    assert lines[4:6] == ["", "digits_lenet: test split"]
    result, weights, predict = lines[-3:]
    assert re.fullmatch(
        rf"top1 {NUMBER} \(\d+ of 359, 95 % interval 0\.\d{{3}} to 0\.\d{{3}}; baseline 0\.\d{{3}}\)", result
    )
    assert re.fullmatch(r"weights of epoch [12] of 2, best val/top1; report: file:///.*/report\.html", weights)
    (run_dir,) = (in_tmp / "runs/digits_lenet").iterdir()
    assert predict == f"visiontasks predict {run_dir.relative_to(in_tmp)} IMAGE_OR_FOLDER"
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_an_evaluation_prints_the_same_table(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["finetune", "digits_lenet", *SHORT])
    trained = capsys.readouterr().out.splitlines()
    (run_dir,) = (in_tmp / "runs/digits_lenet").iterdir()
    assert main(["evaluate", str(run_dir)]) == 0
    evaluated = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    table = [line.rstrip() for line in trained if line.startswith(("test/", "baseline: "))]
    assert len(table) >= 3
    assert [line for line in evaluated if re.sub(" +", " ", line) in {re.sub(" +", " ", row) for row in table}]
    assert next(line for line in evaluated if line.startswith("baseline: ")) == table[-1]


def test_more_is_printed_where_asked_for(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "digits_lenet", *SHORT, "-v"]) == 0
    printed = capsys.readouterr().out
    for start in ("machine: ", "epochs  trained", "peak learning rates: ", "8 batches per epoch", "time: "):
        assert f"\n{start}" in f"\n{printed}"
    assert "test/top1_error" in printed


def test_in_a_terminal_the_line_is_erased_before_anything_is_printed(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream: Any = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(run_progress, "display", lambda: "terminal")
    assert main(["finetune", "digits_lenet", *SHORT]) == 0
    assert sys.stdout is stream
    on_screen = [re.sub(rf".*{re.escape(ERASE)}", "", line) for line in stream.getvalue().split("\n")]
    assert [line.split()[0] for line in on_screen if line.startswith("epoch")] == ["epochs", "epoch", "epoch"]
    bars = [line for line in on_screen if "━" in line or "%  " in line]
    assert bars == []
    shares = [int(share) for share in re.findall(r" (\d+)%", stream.getvalue().split("digits_lenet: ")[0])]
    assert shares == sorted(shares)
