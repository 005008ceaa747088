"""Run folders: which is found, what a new one is called."""

import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from visiontasks.errors import InputError, MissingFileError
from visiontasks.runs.folder import find_run, new_run_dir, read_result, recipe_name, which_run


def make_run(folder: Path, *, checkpoint: bool = True, finished: bool = False) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "recipe.yaml").touch()
    if finished:
        (folder / "result.json").touch()
    if checkpoint:
        (folder / "checkpoints" / "best.ckpt").touch()
    return folder


def test_a_run_is_found_by_its_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path / "digits" / "2026-01-02_03-04-05")
    assert find_run(str(run)) == run
    assert find_run(f"{run}{os.sep}") == run


def test_of_several_runs_the_newest_with_a_checkpoint_is_taken(tmp_path: Path) -> None:
    make_run(tmp_path / "2026-01-02_03-04-05")
    newest = make_run(tmp_path / "2026-01-02_03-04-06")
    make_run(tmp_path / "2026-01-02_03-04-07", checkpoint=False)  # is still in its first epoch
    (tmp_path / "2026-01-02_03-04-08").mkdir()
    assert find_run(str(tmp_path)) == newest


def test_a_finished_run_is_taken_before_a_newer_one_that_is_not_and_is_named(tmp_path: Path) -> None:
    name = str(tmp_path)
    only = make_run(tmp_path / "1")
    assert which_run(str(only), only) == which_run(f"{only}{os.sep}", only) == ""
    assert which_run(name, find_run(name)) == f"{name}: no run there is finished; taking the newest one with weights, 1"
    finished = [make_run(tmp_path / number, finished=True) for number in "23"]
    assert which_run(name, find_run(name)) == f"{name}: taking its newest finished run, 3"
    for number in "45":
        make_run(tmp_path / number)
    assert find_run(name) == find_run(name, has_weights=False) == finished[-1]
    assert which_run(name, finished[-1]) == f"{name}: taking its newest finished run, 3; 2 newer not finished"


def test_a_run_without_weights_is_found_where_they_are_not_needed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "1", checkpoint=False)
    assert find_run(str(tmp_path), has_weights=False) == run


@pytest.mark.parametrize("name", ["nowhere", "a_file", "."])
def test_no_run_is_an_error_that_says_what_to_give(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a_file").touch()
    with pytest.raises(MissingFileError, match=rf"no run in {re.escape(name)}: .*runs/<recipe>/<start time>"):
        find_run(name)


def test_a_run_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", checkpoint=False)
    with pytest.raises(MissingFileError, match=r"run has no checkpoints/best\.ckpt: its training ended before"):
        find_run(str(run))


def test_an_exported_folder_is_not_a_run_that_ended_early(tmp_path: Path) -> None:
    exported = make_run(tmp_path / "exported", checkpoint=False)
    (exported / "preprocessing.json").touch()
    with pytest.raises(MissingFileError, match=r"exported is what `visiontasks export` made of a run, and not"):
        find_run(str(exported))


def test_a_new_run_is_named_by_recipe_and_start_time(tmp_path: Path) -> None:
    run = new_run_dir(tmp_path, "digits")
    assert run.parent == tmp_path / "digits"
    started = datetime.strptime(run.name, "%Y-%m-%d_%H-%M-%S")
    assert datetime.now() - started < timedelta(seconds=10)
    assert not list(run.iterdir())


def test_runs_that_start_in_the_same_second_get_numbers_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("visiontasks.runs.folder.datetime", Stopped)
    runs = [new_run_dir(tmp_path, "digits") for _ in range(3)]
    for run in runs:
        make_run(run)
    names = ["2026-01-02_03-04-05", "2026-01-02_03-04-05_2", "2026-01-02_03-04-05_3"]
    assert [run.name for run in runs] == names
    assert find_run(str(tmp_path / "digits")) == runs[-1]


def test_the_recipe_of_a_run_keeps_its_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "digits_lenet" / "2026-01-02_03-04-05")
    assert recipe_name(run / "recipe.yaml") == "digits_lenet"


def test_any_other_recipe_is_called_as_its_file(tmp_path: Path) -> None:
    assert recipe_name(Path("recipes/digits_lenet.yaml")) == "digits_lenet"
    assert recipe_name(tmp_path / "project" / "recipe.yaml") == "recipe"


def test_result_is_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"recipe": "digits"}))
    assert read_result(tmp_path) == {"recipe": "digits"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ([], "the content is [], expected keys with values"),
        ({"metrics": 1}, "metrics is 1, expected keys with values"),
        ({"metrics": {"test/top1": {"value": "x", "n": 3}}}, "metrics.test/top1.value is 'x', expected a number"),
        ({"metrics": {"a": {"value": 1.0}}}, "metrics.a.n is None, expected a whole number"),
        ({"metrics": {"a": {"value": 1.0, "n": True}}}, "metrics.a.n is True, expected a whole number"),
        ({"metrics": {"a": {"value": 1, "n": 3, "interval95": [0.5]}}}, "metrics.a.interval95 is [0.5], expected two"),
        ({"split": "../../x"}, "split is '../../x', expected val or test"),
        ({"wall_s": 10**400}, "wall_s is 1000"),
        ({"time": {"steps": float("inf")}}, "time.steps is inf, expected a finite number"),
        ({"data": {"splits": {"dev": 3}}}, "data.splits has 'dev', expected train, val, test"),
        ({"data": {"splits": {}, "classes": ["a", 1]}}, "data.classes.1 is 1, expected a text"),
        ({"hardware": {"gpus": None}}, "hardware.gpus is None, expected a list"),
        ({"phases": [{"epochs": [1], "wall_s": 1}]}, "phases.0.epochs is [1], expected two numbers"),
        ({"chosen_by": {"monitor": "a", "value": "b"}}, "chosen_by.value is 'b', expected a number or null"),
    ],
)
def test_a_value_of_another_kind_is_named_with_file_and_key(change: object, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(change))
    with pytest.raises(InputError, match=re.escape(f"{path}: {fault}")):
        read_result(tmp_path)


def test_what_finetune_writes_passes_and_what_is_needed_must_be_there(tmp_path: Path) -> None:
    content = {
        "metrics": {"a": {"value": float("nan"), "n": 3, "count": 2, "interval95": [0, 1.0]}},
        "class_metrics": {"b": {"cat": None, "dog": 0.5}},
        "resumed_at_step": None,
        "chosen_by": {"monitor": "m", "value": None},
        "phases": [{"epochs": [1, 2], "trained_stages": 0, "wall_s": 0.5}],
        "hardware": {"gpus": ["a"], "threads": 2},
        "of a newer version": [{}],
    }
    (tmp_path / "result.json").write_text(json.dumps(content))
    assert read_result(tmp_path, needed=["metrics", "hardware.threads"])["phases"] == content["phases"]
    with pytest.raises(InputError, match="result.json: hardware.machine is missing, as finetune writes it"):
        read_result(tmp_path, needed=["hardware.machine"])


@pytest.mark.parametrize("content", [None, "", "{", "[" * 100_000, "\udcff"])
def test_a_missing_or_broken_result_is_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=r"cannot read .*result\.json"):
        read_result(tmp_path)
