"""What is checked and chosen before anything heavy is imported."""

import argparse
from pathlib import Path

import pytest

from visiontasks.commands.early import announce, check_early


@pytest.fixture
def runs(in_tmp: Path) -> None:
    for name, files in {"1": ["result.json", "checkpoints/best.ckpt"], "2": ["checkpoints/best.ckpt"]}.items():
        for file in ("recipe.yaml", *files):
            path = Path("runs/pets", name, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@pytest.mark.parametrize("command", ["evaluate", "explain", "export", "report"])
def test_commands_take_the_newest_finished_run_and_name_it(
    command: str, runs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = argparse.Namespace(command=command, run="runs/pets")
    check_early(arguments, [])
    assert arguments.run == "runs/pets/1"
    announce(arguments)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "runs/pets: taking its newest finished run, 1; 1 newer not finished\n")


@pytest.mark.parametrize("command", ["evaluate", "explain", "export", "report"])
def test_a_run_of_its_own_name_is_taken_as_it_is(command: str, runs: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(command=command, run="runs/pets/2")
    check_early(arguments, [])
    announce(arguments)
    assert arguments.run == "runs/pets/2"
    assert capsys.readouterr().err == ""


def test_compared_runs_are_chosen_and_named_one_by_one(runs: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(command="compare", runs=["runs/pets", "runs/pets/2"])
    check_early(arguments, [])
    announce(arguments)
    assert arguments.runs == ["runs/pets/1", "runs/pets/2"]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_only_the_first_process_names_a_run(
    runs: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    arguments = argparse.Namespace(command="evaluate", run="runs/pets")
    check_early(arguments, [])
    announce(arguments)
    assert capsys.readouterr().err == ""
