"""A task that this package does not know goes through every command, by its own files alone."""

import ast
import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from visiontasks import Predictor
from visiontasks.commands.main import main
from visiontasks.errors import InputError
from visiontasks.outputs import Output
from visiontasks.predict.engine import PACKAGES
from visiontasks.recipe.checks import check_columns, check_task
from visiontasks.tasks import ClassificationTask, Task
from visiontasks.tasks.base import Split
from visiontasks.tasks.metrics.match_rows import MatchRow

NEWCOMER = Path(__file__).parent / "newcomer"
PACKAGE = Path(__file__).parents[1] / "visiontasks"
KINDS = ("brightness", "plain")
TARGET_KEYS = {"label", "labels", "labels_hot", "value", "boxes", "box", "crowd", "instance_masks", "mask", "masks"}


class FinishedRun:
    """Two runs of a task, and what the first one's test split is."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        for seed, images in (("0", []), ("1", ["photos"])):
            assert main(["finetune", f"{kind}.yaml", *images, "--seed_everything", seed]) == 0
        self.runs = sorted((folder / "runs" / kind).iterdir())
        self.result = json.loads((self.runs[0] / "result.json").read_text())

    def rows(self, name: str = "predictions_test.csv") -> list[dict[str, str]]:
        with (self.runs[0] / name).open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path]
) -> Iterator[FinishedRun]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp(request.param)
        patch.chdir(folder)
        patch.syspath_prepend(NEWCOMER)
        class_folders(folder / "photos", {"cat": 20, "dog": 20})
        (folder / f"{request.param}.yaml").write_text((NEWCOMER / f"{request.param}.yaml").read_text())
        yield FinishedRun(request.param, folder)


def first_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def predicted(run: Any, images: list[Path], **options: Any) -> list[list[Any]]:
    """The values that a run's rows have."""
    predictions = Predictor.load(*(run if isinstance(run, list) else [run]), **options)(images)
    assert all(prediction.output is not None for prediction in predictions)
    return [[*row.values()] for p in predictions if p.output for row in p.output.rows(p.class_names)]


def test_the_result_has_its_own_metric_with_its_meaning(trained: FinishedRun) -> None:
    name = {"brightness": "test/closeness", "plain": "test/top1"}[trained.kind]
    entry = trained.result["metrics"][name]
    assert entry["n"] == 8
    assert entry["meaning"]
    assert len(entry["interval95"]) == 2
    assert trained.result["headline"] == name[5:]
    assert (
        trained.result["score"]
        == {
            "brightness": {"name": "closeness", "measures": True},
            "plain": {"name": "probability", "measures": False},
        }[trained.kind]
    )


def test_evaluate_measures_the_same_again(trained: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    table = (trained.runs[0] / "predictions_test.csv").read_bytes()
    assert main(["evaluate", str(trained.runs[0])]) == 0
    assert (trained.runs[0] / "predictions_test.csv").read_bytes() == table
    name, entry = next(iter(trained.result["metrics"].items()))
    assert re.search(rf"{name} +{entry['value']:.4f}", capsys.readouterr().out)


def test_the_report_says_what_the_result_means(trained: FinishedRun) -> None:
    assert main(["report", str(trained.runs[0])]) == 0
    page = (trained.runs[0] / "report.html").read_text()
    assert trained.result["metrics"][f"test/{trained.result['headline']}"]["meaning"] in page
    assert ("closeness by image" in page) == (trained.kind == "brightness")
    assert "IoU" not in page
    assert ("Bright images</h2>" in page) == (trained.kind == "brightness")


def test_runs_are_compared_by_their_scores_or_by_their_classes(
    trained: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *map(str, trained.runs)]) == 0
    assert {"brightness": "score of B higher by", "plain": "McNemar"}[trained.kind] in capsys.readouterr().out


def test_runs_are_compared_by_the_matches_that_their_task_gives(
    trained: FinishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def match_rows(task: Task, split: Split, class_names: Sequence[str]) -> list[MatchRow]:
        """In each image an object, which a detection finds where the score is 0.5 or more."""
        table = task.sample_table(split)
        found = ["1" * 10 if score >= 0.5 else "0" * 10 for score in table["score"].tolist()]
        rows = [MatchRow(image=i, label="bright", score=0.5, outcome=each) for i, each in enumerate(found)]
        return rows + [MatchRow(image=i, label="bright", score=None, outcome="") for i in range(len(found))]

    monkeypatch.setattr(Task, "match_rows", match_rows)
    for run in trained.runs:
        assert main(["evaluate", str(run)]) == 0
    capsys.readouterr()
    assert main(["compare", *map(str, trained.runs)]) == 0
    assert "map of B higher by" in capsys.readouterr().out
    monkeypatch.undo()
    for run in trained.runs:
        assert main(["evaluate", str(run)]) == 0
        assert not (run / "matches_test.csv").exists()


def test_predictions_are_what_was_measured(trained: FinishedRun) -> None:
    rows = trained.rows()
    if trained.kind == "brightness":  # without labels, cat/1.png and dog/1.png cannot be distinguished
        values = [value for (value,) in predicted(trained.runs[0], sorted(trained.folder.glob("photos/*/*.png")))]
        assert all(min(abs(float(row["brightness"]) - value) for value in values) < 2e-6 for row in rows)
        return
    images = [trained.folder / "photos" / row["label"] / row["sample"] for row in rows]
    for row, (name, probability, *_) in zip(rows, predicted(trained.runs[0], images), strict=True):
        assert (row["predicted"], pytest.approx(float(row["probability"]), abs=2e-6)) == (name, probability)


def test_two_runs_and_two_views_are_averaged(trained: FinishedRun) -> None:
    images = sorted(trained.folder.glob("photos/cat/*.png"))[:3]
    first, second = (predicted(run, images) for run in trained.runs)
    both = predicted(trained.runs, images)
    flip = predicted(trained.runs[0], images, tta="flip")
    if trained.kind == "plain":  # cat and dog in the same order, or the mean could not be taken of rows
        first, second, both, flip = (
            [[dict(zip(row[::2], row[1::2], strict=True))["cat"]] for row in rows]
            for rows in (first, second, both, flip)
        )
    for a, b, mean, of_views in zip(first, second, both, flip, strict=True):
        assert mean[0] == pytest.approx((a[0] + b[0]) / 2, abs=2e-6)
        assert 0 < of_views[0] < 1


def test_predict_writes_rows_lines_and_pictures(trained: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(trained.runs[0]), "photos/cat", "--out", "rows.csv", "--draw", "drawn"]
    assert main(["predict", *arguments]) == 0
    with Path("rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    column = {"brightness": "brightness", "plain": "predicted"}[trained.kind]
    assert all(row[column] and not row["error"] for row in rows)
    assert len(list(Path("drawn").rglob("*.jpg"))) == 20
    capsys.readouterr()
    assert main(["predict", str(trained.runs[0]), "photos/cat/0.png"]) == 0
    assert {"brightness": "brightness 0.", "plain": "cat"}[trained.kind] in capsys.readouterr().out


def test_a_threshold_and_label_files_are_for_outputs_that_have_them(
    trained: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(trained.runs[0]), "photos/cat"]
    if trained.kind == "plain":
        for option in (["--threshold", "0.5"], ["--format", "yolo", "--out", "labels"]):
            assert main([*command, *option]) == 2
            assert option[0] in " ".join(first_lines(capsys.readouterr().err))
        return
    dark, bright = (Predictor.load(trained.runs[0], threshold=each)("photos/cat/0.png")[0] for each in (1.0, 0.0))
    assert (len(dark.boxes), len(bright.boxes), bright.label) == (0, 1, None)
    values = sorted(value for (value,) in predicted(trained.runs[0], sorted(trained.folder.glob("photos/cat/*.png"))))
    threshold = str((values[9] + values[10]) / 2)  # ten of the 20 images reach it
    for form, out in (("yolo", "labels"), ("coco", "found.json")):
        assert main([*command, "--threshold", threshold, "--format", form, "--out", out]) == 0
    lines = [path.read_text() for path in Path("labels").rglob("*.txt") if path.name != "classes.txt"]
    assert (len(lines), sum(map(bool, lines))) == (20, 10)
    found = json.loads(Path("found.json").read_text())
    assert [each["score"] for each in sorted(found, key=lambda each: each["score"])] == values[10:]


def test_explain_shows_classes_or_what_there_is_without(
    trained: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(trained.runs[0]), "photos/cat/0.png", "--out", "why"]) == 0
    assert {path.stem for path in Path("why").iterdir()} == {
        "brightness": {"filters", "feature-maps"},
        "plain": {"grad-cam", "occlusion", "filters", "feature-maps"},
    }[trained.kind] | ({"grad-cam", "occlusion"} if trained.kind == "plain" else set())
    if trained.kind == "brightness":
        assert main(["explain", str(trained.runs[0]), "photos/cat/0.png", "--method", "grad-cam"]) == 2
        assert len(first_lines(capsys.readouterr().err)) == 1


@pytest.mark.parametrize("form", ["folder", "torch-export", "onnx"])
def test_an_export_agrees_and_has_a_card(trained: FinishedRun, form: str) -> None:
    if form == "onnx":
        for package in PACKAGES:
            pytest.importorskip(package)
    folder = trained.folder / f"exported_{form}"
    pictures = trained.folder / "many"
    if not pictures.is_dir():
        pictures.mkdir()
        for i, path in enumerate(sorted(trained.folder.glob("photos/*/*.png")) * 3):
            (pictures / f"{i}.png").write_bytes(path.read_bytes())
    assert main(["export", str(trained.runs[0]), str(folder), "--format", form, "--images", str(pictures)]) == 0
    card = (folder / "README.md").read_text()
    assert {"brightness": "which measures how bright images are", "plain": "which classifies images"}[
        trained.kind
    ] in card
    if form != "folder":
        figures = json.loads((folder / "agreement.json").read_text())
        assert figures["images"] == 120
        assert figures.get("brightness", figures.get("probability")) < 1e-3


def test_a_target_of_a_batch_is_named_by_data_and_tasks_alone() -> None:
    """No other part branches on the kind of a batch's target, or names a task or its output."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0]
        if part in ("tasks", "data", "outputs", "recipe", "__init__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Name | ast.Attribute):
                named = node.id if isinstance(node, ast.Name) else node.attr
                if re.fullmatch(r"(Classification|Localization|Segmentation|Detection)Task", named) or (
                    re.fullmatch(r"ClassScores|Detections|FoundObjects|SemanticMask", named)
                    and path != PACKAGE / "export" / "folder.py"  # a timm folder is for class scores alone
                ):
                    found.append(f"{name} names {named}")
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.In | ast.NotIn | ast.Eq) for op in node.ops):
                constants = {
                    c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)
                }
                found += [f"{name} branches on {key!r}" for key in sorted(constants & TARGET_KEYS)]
    assert found == []


def test_class_scores_without_the_columns_of_a_report_are_refused() -> None:
    task: Any = ClassificationTask("test_resnet", weights="none", num_classes=2)
    check_columns(task)
    task.sample_columns = ("score", "predicted")
    with pytest.raises(
        InputError,
        match=r"ClassificationTask.outputs is ClassScores, of which .* need label, probability of each sample",
    ):
        check_columns(task)


def test_a_task_that_is_not_complete_is_refused_before_its_training() -> None:
    task: Any = ClassificationTask("test_resnet", weights="none", num_classes=2)
    check_task(task)
    task.monitor = None
    with pytest.raises(InputError, match="ClassificationTask defines no monitor such as val/top1"):
        check_task(task)
    task.outputs = Output
    with pytest.raises(InputError, match=r"ClassificationTask.outputs is Output, which does not define class_prob"):
        check_task(task)
    task.outputs = None
    with pytest.raises(InputError, match="ClassificationTask defines no outputs, expected a class of visiontasks.out"):
        check_task(task)
