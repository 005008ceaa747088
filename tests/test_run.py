"""A finished run in Python gives what its files hold, and predicts as `Predictor` does."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import visiontasks
from visiontasks import run as runs
from visiontasks.errors import InputError, MissingFileError
from visiontasks.predict import Predictor
from visiontasks.run import Metrics, Run, as_words, open_run
from visiontasks.tasks import ClassificationTask

ENTRIES: dict[str, Any] = {
    "test/top1": {"value": 0.75, "n": 1200, "count": 900, "interval95": [0.725, 0.774]},
    "test/loss": {"value": 0.5, "n": 1200},
}
IMAGE = np.full((40, 30, 3), 200, dtype=np.uint8)


@pytest.fixture
def folder(saved_run: Callable[..., Path], tmp_path: Path) -> Path:
    """A run with a result, whose head is not 0."""
    task = ClassificationTask("lenet5", weights="none", num_classes=2, in_chans=3)
    for parameter in task.head.parameters():
        nn.init.normal_(parameter)
    run = saved_run(tmp_path / "runs" / "photos" / "a", task, {"backbone": "lenet5", "in_chans": 3}, ["cat", "dog"])
    (run / "result.json").write_text(json.dumps({"metrics": ENTRIES, "split": "test"}))
    return run


def test_metrics_are_values_with_their_intervals(folder: Path) -> None:
    run = Run(folder)
    assert run.metrics == {"test/top1": 0.75, "test/loss": 0.5}
    assert run.metrics.intervals == {"test/top1": (0.725, 0.774)}
    assert run.metrics.entries == ENTRIES
    assert run.metrics.rows() == [
        ("test/top1", "0.7500", "0.7250 - 0.7740", "1,200"),
        ("test/loss", "0.5000", "", "1,200"),
    ]
    assert repr(run) == f"Run('{folder}', test/top1 0.7500)"


def test_a_run_that_did_not_come_to_its_end_has_no_metrics(folder: Path) -> None:
    (folder / "result.json").unlink()
    run = Run(folder)
    assert run.metrics == {}
    assert repr(run) == f"Run('{folder}')"
    assert run.class_names == ("cat", "dog")


def test_tables_are_plain_html() -> None:
    shown = Metrics({"test/a<b": {"value": 1, "n": 1}})._repr_html_()
    assert "<td>test/a&lt;b</td><td>1.0000</td><td></td><td>1</td>" in shown
    assert "style" not in shown


def test_it_predicts_as_the_predictor_does(folder: Path) -> None:
    run = open_run(folder)
    (ours,) = run.predict(IMAGE)
    (expected,) = Predictor.load(folder)(IMAGE)
    assert ours.label in run.class_names == ("cat", "dog")
    assert (ours.label, ours.probability) == (expected.label, expected.probability)
    assert len(run.predict([IMAGE, IMAGE], top=1, batch_size=1, tta="flip")[1].classes) == 1
    with pytest.raises(MissingFileError, match="nowhere/: no such file or folder"):
        run.predict("nowhere/")


def test_the_model_is_a_plain_module_of_its_own(folder: Path) -> None:
    run = open_run(folder)
    assert isinstance(run.model, nn.Module)
    assert not run.model.training
    assert run.image_size == (32, 32)
    image = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    before = run.predict(np.full((32, 32, 3), 200, dtype=np.uint8))[0]
    probability = run.model(image).softmax(-1)[0]
    assert probability.max().item() == pytest.approx(before.probability, abs=1e-5)
    for parameter in run.model.parameters():
        nn.init.zeros_(parameter)
    after = run.predict(np.full((32, 32, 3), 200, dtype=np.uint8))[0]
    assert after.probability == before.probability != 0.5


def test_a_metric_that_is_missing_is_answered_with_the_nearest_and_all(folder: Path) -> None:
    metrics = Run(folder).metrics
    known = ", ".join(metrics)
    near = next(iter(metrics))
    with pytest.raises(KeyError) as error:
        metrics[f"{near}x"]
    assert error.value.args == (f"no metric '{near}x': did you mean '{near}'? Measured: {known}",)
    with pytest.raises(KeyError) as error:
        metrics["zzz"]
    assert error.value.args == (f"no metric 'zzz'. Measured: {known}",)
    assert metrics.get("zzz") is None
    (folder / "result.json").unlink()
    with pytest.raises(KeyError, match="no metric 'x'. Measured: nothing, since the training did not finish"):
        Run(folder).metrics["x"]


def test_the_newest_run_of_a_folder_is_opened(folder: Path) -> None:
    run = visiontasks.open_run(folder.parent)
    assert run.folder == folder
    assert os.fspath(run) == str(folder)
    assert Path(run) == folder


def test_what_is_missing_is_an_error_when_it_is_opened(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no run in .*nowhere"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(
        InputError, match="best.ckpt is a file: give the folder of a run; Predictor.load.path. takes a c"
    ):
        open_run(folder / "checkpoints" / "best.ckpt")
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"no")
    with pytest.raises(InputError, match="best.ckpt cannot be read"):
        open_run(folder)
    (folder / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(MissingFileError, match="has no checkpoints/best.ckpt"):
        open_run(folder)


def test_a_stored_report_is_shown_and_a_missing_one_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def report(run: str, overrides: list[str]) -> Path:
        written.append(run)
        path = Path(run, "report.html")
        path.write_text("<p>new</p>")
        return path

    monkeypatch.setattr(runs, "report", report)
    run = Run(folder)
    shown = run.report()
    assert shown.path == folder / "report.html"
    assert written == [str(folder)]
    shown.path.write_text("<p>stored</p>")
    assert "stored" in run.report()._repr_html_()
    assert written == [str(folder)]


def test_an_evaluation_gets_folder_and_keys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def evaluate(run: Path, overrides: list[str], *, split: str) -> dict[str, Any]:
        given.extend((run, overrides, split))
        return {"metrics": ENTRIES}

    monkeypatch.setattr(runs, "evaluate", evaluate)
    metrics = Run(folder).evaluate(Path("new"), split="val", overrides={"data.batch_size": 8})
    assert metrics["test/top1"] == 0.75
    assert given == [folder, ["--data.root=new", "--data.batch_size=8"], "val"]


def test_wrong_options_are_named_as_keywords(folder: Path) -> None:
    run: Any = Run(folder)
    with pytest.raises(InputError, match="^split 'train': expected test or val$"):
        run.evaluate(split="train")
    with pytest.raises(InputError, match="^top: 0, expected at least 1$"):
        run.predict(IMAGE, top=0)
    with pytest.raises(InputError, match="^device warp: cannot be used here"):
        run.predict(IMAGE, device="warp")


def test_values_become_words_of_yaml() -> None:
    assert as_words({"a.b": None, "c": True, "d": "x y", "e": [1, 2]}) == [
        "--a.b=null",
        "--c=true",
        "--d=x y",
        "--e=[1, 2]",
    ]
