"""The run before a run: which one it is, and what the report has of the difference."""

from pathlib import Path
from typing import Any

from tests.results.test_compare import write_run
from visiontasks.report import Previous
from visiontasks.results.previous import compare_with_previous, previous_run
from visiontasks.results.samples import read_samples
from visiontasks.runs.folder import read_result

RIGHT, WRONG = "{},ant,ant,0.9,0.9\n", "{},ant,bee,0.6,0.4\n"


def written(root: Path, name: str, wrong: str = "", **options: Any) -> Path:
    """A finished run of "made" that classified six images of ants, the named ones wrongly."""
    rows = "".join((WRONG if sample in wrong else RIGHT).format(sample) for sample in "abcdef")
    return write_run(root / name, rows=rows, recipe="made", **options)


def compared(run: Path) -> Previous | None:
    return compare_with_previous(run, read_result(run), read_samples(run / "predictions_test.csv"))


def test_the_previous_run_is_the_last_finished_one_before(tmp_path: Path) -> None:
    first, second, killed, run, _ = (written(tmp_path, name) for name in ("1", "2", "3", "4", "5"))
    (killed / "result.json").unlink()
    assert previous_run(run) == second
    assert previous_run(first) is None


def test_runs_are_compared_by_metric_test_and_recipe(tmp_path: Path) -> None:
    before = written(tmp_path, "1", "abcde", value=1 / 6, lr=0.1)
    found = compared(written(tmp_path, "2", "f", value=5 / 6, lr=0.2))
    assert found is not None
    assert found.run == str(before)
    assert found.metrics == {"test/top1": 1 / 6}
    # 5 are right now only, 1 before only: 2 * (1 + 6) / 2**6
    (test,) = found.tests
    assert test == (
        "On the same 6 images: 5 are right in this run only, 1 in the previous run only; McNemar's exact test gives "
        "p = 0.22: the difference may be chance."
    )
    assert found.recipe == [("model.init_args.optimizer.init_args.lr", "0.1", "0.2")]


def test_a_run_of_another_recipe_split_or_task_is_not_compared(tmp_path: Path) -> None:
    for i, changes in enumerate(({"recipe": "other"}, {"split": "val"}, {"task": "SegmentationTask"})):
        folder = tmp_path / str(i)
        written(folder, "1")
        run = written(folder, "2")
        assert compare_with_previous(run, {**read_result(run), **changes}, None) is None


def test_samples_that_differ_leave_the_metrics_and_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "1", recipe="made")  # of one image
    found = compared(written(tmp_path, "2"))
    assert found is not None
    assert set(found.metrics) == {"test/top1"}
    assert "were not measured on the same samples (1 in common" in found.tests[0]


def test_a_damaged_previous_run_is_left_out(tmp_path: Path) -> None:
    (written(tmp_path, "1") / "recipe.yaml").write_text("{")
    assert compared(written(tmp_path, "2")) is None
