"""report.html from a run's folder: of a finished run, one that was killed, one whose data is gone."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.finetune import finetune
from visiontasks.commands.main import main
from visiontasks.errors import InputError
from visiontasks.recipe import find_recipe
from visiontasks.results.examples import Examples
from visiontasks.results.report import read_history, report, weights_of, write_report

SHORT = ["--trainer.max_epochs", "1", "--data.num_workers", "0", "--data.batch_size", "4", "--model.in_chans", "3"]

COPIES = r"In two splits the same file: .* and \d+ more; metrics on them are too good [^.]*\."
"""All that is noted of `photos`, whose splits hold the same pictures."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Experiment logs directory"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
]


def headings(path: Path) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", path.read_text())


def notes(path: Path) -> str:
    return " ".join(re.findall('<div class="note">(.*?)</div>', path.read_text()))


def pictures(path: Path) -> int:
    return path.read_text().count("<img")


def samples(path: Path) -> int:
    return path.read_text().partition("<h2>What the network looks at")[0].count("<figure>")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path]) -> Path:
    folders = {f"{split}/{name}": 6 for split in ("train", "val", "test") for name in ("cat", "<i>cow", "dog")}
    return class_folders(tmp_path_factory.mktemp("photos") / "photos", folders)


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is only to be read."""
    overrides = [*SHORT, "--data", "ImageFolder", "--data.root", str(photos)]
    return finetune(find_recipe("digits_lenet"), overrides, runs=tmp_path_factory.mktemp("runs"))[0]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "recipe" / "2026"))


def test_a_training_ends_with_its_report(finished: Path) -> None:
    content = (finished / "report.html").read_text()
    assert [heading.partition(":")[0] for heading in headings(finished / "report.html")] == [
        *("Result", "Training"),
        *(["The most confident mistakes"] if "The most confident mistakes" in content else []),
        "Random samples",
        "What the network looks at",
        *("Confusion matrix", "Precision and recall of each class"),
        *("Temperature and sets of classes", "Thresholds", "Calibration"),
        *("Training batch", "Data", "Where the time went", "Recipe"),
    ]
    assert pictures(finished / "report.html") >= 12 + 2 * 6 + 1
    assert re.fullmatch(COPIES, notes(finished / "report.html"))
    assert "<i>cow" not in content
    assert "&lt;i&gt;cow" in content


def test_the_report_again_is_the_same_to_the_last_byte(finished: Path) -> None:
    path = finished / "report.html"
    before = path.read_bytes()
    assert report(str(finished), []) == path
    assert path.read_bytes() == before
    evaluate(finished, ["--data.num_workers", "0"])
    assert path.read_bytes() == before


def test_another_split_has_a_report_of_its_own(run: Path) -> None:
    before = (run / "report.html").read_bytes()
    evaluate(run, ["--data.num_workers", "0"], split="val")
    assert (run / "report.html").read_bytes() == before
    assert "of the val images are classified correctly" in (run / "report_val.html").read_text()
    assert "on which the best epoch was chosen" in notes(run / "report_val.html")


def test_the_data_may_be_gone(run: Path, photos: Path) -> None:
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace(str(photos), "nowhere"))
    before = headings(run / "report.html")
    path = report(str(run), [])
    assert pictures(path) == 0  # also what the network looks at
    assert "Pictures are left out, because the data cannot be read: " in notes(path)
    of_pictures = {"The most confident mistakes", "Random samples", "What the network looks at", "Training batch"}
    assert set(before) - set(headings(path)) <= of_pictures
    assert pictures(report(str(run), ["--data.root", str(photos)])) >= 12


def test_single_pictures_may_be_gone(run: Path, photos: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    whole = samples(run / "report.html")
    for name in ("cat", "dog"):
        for file in sorted((moved / "test" / name).iterdir())[1:]:
            file.unlink()
    path = report(str(run), ["--data.root", str(moved)])
    assert 0 < samples(path) < whole
    assert f"{whole - samples(path)} pictures left out: the files are gone" in notes(path)


def test_explained_images_come_into_the_report_when_it_is_written_again(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pictures(run / "report.html")
    image = next((photos / "test" / "dog").iterdir())
    assert main(["explain", str(run), str(image), "--method", "grad-cam", "--method", "filters"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"to see them in report.html: visiontasks report {run}"
    path = report(str(run), [])
    assert pictures(path) == before + 2
    assert "Explained images" in headings(path)
    assert re.search(r">Grad-CAM of (cat|dog|&lt;i&gt;cow)<", path.read_text())
    evaluate(run, ["--data.num_workers", "0"])
    assert pictures(path) == before + 2
    assert main(["explain", str(run), str(image), "--method", "filters", "--out", str(run / "elsewhere")]) == 0
    assert "report" not in capsys.readouterr().out


def test_a_killed_run_has_a_partial_report_that_says_so(run: Path) -> None:
    for name in ("result.json", "predictions_test.csv", "report_test.json", "checkpoints/best.ckpt"):
        (run / name).unlink()
    rows = (run / "metrics.csv").read_text()
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("max_epochs: 1", "max_epochs: 30"))
    path = report(str(run.parent), [])
    assert path == run / "report.html"
    assert "This report is partial: the training did not finish. 1 of 30 epochs are done" in notes(path)
    assert f"finetune {run}/recipe.yaml --resume {run}" in notes(path)
    assert headings(path) == ["Training", "Recipe"]
    (run / "metrics.csv").unlink()  # killed in the first epoch
    assert headings(report(str(run), [])) == ["Recipe"]
    assert "0 of 30 epochs" in notes(path)
    (run / "metrics.csv").write_text(rows)


def test_a_run_of_before_there_were_tables_has_a_report(run: Path) -> None:
    for name in ("predictions_test.csv", "report_test.json"):
        (run / name).unlink()
    path = report(str(run), [])
    assert "predictions_test.csv is missing" in notes(path)
    assert "visiontasks evaluate" in notes(path)
    assert headings(path) == ["Result", "Training", "Data", "Where the time went", "Recipe"]


def test_a_table_of_another_measurement_is_noticed(run: Path) -> None:
    evaluate(run, ["--trainer.limit_test_batches", "2", "--data.num_workers", "0"])
    path = report(str(run), [])
    assert "predictions_test.csv is of another measurement, of 8 samples, than the result, of 18" in notes(path)


def test_a_finished_run_needs_no_tracker(run: Path) -> None:
    recipe = run / "recipe.yaml"
    logger = "{class_path: WandbLogger, init_args: {entity: us, project: ours}}"  # which only wandb itself knows
    content = recipe.read_text()
    assert "  logger: null\n" in content
    recipe.write_text(content.replace("  logger: null\n", f"  logger: {logger}\n"))
    assert evaluate(run, ["--data.num_workers", "0"])["samples"] == {"evaluated": 18, "of": 18}
    assert re.fullmatch(COPIES, notes(report(str(run), [])))


def test_the_command_says_where_the_report_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"report: {run / 'report.html'}\n"
    assert (run / "report.html").is_file()


def test_damaged_files_of_a_run_are_named(run: Path, refused: Any) -> None:
    assert "no run in nowhere" in refused("report nowhere")
    (run / "metrics.csv").write_text("epoch,val/top1\n1,high\n")
    assert "metrics.csv cannot be read: could not convert string to float: 'high'" in refused(f"report {run}")
    (run / "metrics.csv").write_text("epoch\n1\n")
    (run / "predictions_test.csv").write_text("a,b\n")
    assert "predictions_test.csv is not a table of predictions" in refused(f"report {run}")
    (run / "result.json").write_text("{")
    assert "cannot read" in refused(f"report {run}")


def test_rows_of_the_history_have_the_numbers_that_there_are(tmp_path: Path) -> None:
    assert read_history(tmp_path / "metrics.csv") == []
    (tmp_path / "metrics.csv").write_text("epoch,train/loss,val/top1\n1,,0.5\n1,2.0,nan\n")
    first, second = read_history(tmp_path / "metrics.csv")
    assert first == {"epoch": 1, "val/top1": 0.5}
    assert second["train/loss"] == 2
    (tmp_path / "metrics.csv").write_text("epoch\n1,2\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_history(tmp_path / "metrics.csv")


def test_the_result_of_a_finished_run_is_what_the_report_shows(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    entry = result["metrics"]["test/top1"]
    assert f"{entry['count']:,} of {entry['n']:,}" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"backbone": "local-dir:weights/mobilenet", "weights": "hub"}, "of the folder weights/mobilenet"),
        ({"backbone": "resnet18.a1_in1k", "weights": "hub"}, "hub: downloaded by timm"),
        ({"backbone": "resnet20_cifar.vt_cifar10", "weights": "hub"}, "shipped with visiontasks"),
        ({"backbone": "resnet18", "weights": "none"}, "none: random at the start"),
        ({"backbone": "resnet18", "weights": "mine.safetensors"}, "mine.safetensors"),
    ],
)
def test_weights_come_from_where_the_recipe_took_them(options: dict[str, str], expected: str) -> None:
    assert weights_of({"model": {"init_args": options}}) == expected


def test_a_run_that_started_from_another_names_it() -> None:
    assert weights_of({"init_from": "runs/a/1"}).startswith("of the run runs/a/1 (init_from)")


def test_what_was_found_wrong_with_the_data_is_noted_in_the_reports_about_it(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    result["data"]["warnings"] = ["in two splits the same file: a.jpg and b.jpg"]
    (run / "result.json").write_text(json.dumps(result))
    assert "In two splits the same file: a.jpg and b.jpg." in notes(report(str(run), []))
    of_others = write_report(run, "test", None, Examples(), other_data="_others")
    assert "In two splits" not in notes(of_others)
