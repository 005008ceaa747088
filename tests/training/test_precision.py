"""`trainer.precision: auto`: bfloat16 where it is native, and what was taken is what is recorded and compared."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from visiontasks.errors import InputError
from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.recipe.resume import check_resumable
from visiontasks.runs.provenance import Provenance, versions
from visiontasks.training import precision
from visiontasks.training.precision import EMULATION_FACTOR, resolve_precision

DIGITS = ("--config", str(find_recipe("digits_lenet")))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`machine(cpu=True, gpu=None)`: whether the processor and the GPU, if there is one, have bfloat16."""

    def make(*, cpu: bool, gpu: bool | None = None, mps: bool = False) -> None:
        monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: cpu)
        monkeypatch.setattr(precision, "gpu_has_bfloat16", lambda: bool(gpu))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


@pytest.mark.parametrize(
    ("accelerator", "has", "expected"),
    [
        ("auto", {"cpu": True}, "bf16-mixed"),
        ("auto", {"cpu": False}, "32-true"),
        ("auto", {"cpu": False, "gpu": True}, "bf16-mixed"),
        ("auto", {"cpu": True, "gpu": False}, "32-true"),  # the GPU is what is used
        ("cpu", {"cpu": True, "gpu": False}, "bf16-mixed"),
        ("cpu", {"cpu": False, "gpu": True}, "32-true"),
        ("gpu", {"cpu": False, "gpu": True}, "bf16-mixed"),
        ("auto", {"cpu": True, "mps": True}, "32-true"),
        ("tpu", {"cpu": True}, "32-true"),
    ],
)
def test_auto_is_bfloat16_where_the_device_has_it(
    machine: Any, accelerator: str, has: dict[str, bool], expected: str
) -> None:
    machine(**has)
    assert resolve_precision("auto", accelerator) == expected


@pytest.mark.parametrize("given", ["bf16-mixed", "32-true", 64, None])
def test_any_other_precision_stays(machine: Any, given: Any) -> None:
    machine(cpu=True)
    assert resolve_precision(given, "cpu") == given


@pytest.mark.parametrize("given", ["bf16-mixed", "bf16-true", "bf16", "16-mixed"])
@pytest.mark.filterwarnings("ignore:.*`precision=:UserWarning", "ignore:bf16 is supported for historical:UserWarning")
def test_emulated_bfloat16_is_warned_of_with_the_factor_and_the_way_out(
    machine: Any, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*DIGITS, "--trainer.accelerator", "cpu", "--trainer.precision", given]
    machine(cpu=True)
    RecipeCLI(options)
    assert capsys.readouterr().err == ""
    machine(cpu=False)
    trainer = RecipeCLI(options).trainer
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: trainer.precision {trainer.precision}: torch emulates bfloat16 on this processor")
    assert f"{EMULATION_FACTOR} times as long as in float32: set trainer.precision to 32-true, or to auto" in line


@pytest.mark.parametrize("given", ["32-true", "64-true", "auto"])
def test_other_precisions_are_not_warned_of(machine: Any, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    machine(cpu=False)
    RecipeCLI([*DIGITS, "--trainer.accelerator", "cpu", "--trainer.precision", given])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_the_resolved_recipe_has_the_precision_that_was_chosen(
    machine: Any, tmp_path: Path, native: bool, expected: str
) -> None:
    machine(cpu=native)
    cli = RecipeCLI([*DIGITS, "--trainer.precision", "auto"], run_dir=tmp_path / "run")
    assert cli.trainer.precision == expected
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(cli.dump())
    assert yaml.safe_load(resolved.read_text())["trainer"]["precision"] == expected
    machine(cpu=not native)  # another machine repeats it as it was
    assert RecipeCLI(["--config", str(resolved)]).trainer.precision == expected


def test_a_run_is_resumed_with_the_precision_that_it_had(machine: Any) -> None:
    machine(cpu=True)
    options = [*DIGITS, "--trainer.precision", "auto"]
    cli = RecipeCLI(options)
    run = Provenance(cli.dump(), (), (28, 28), "crop", (), (), versions(), processes=1)
    check_resumable(RecipeCLI(options), run, Path("run"))
    machine(cpu=False)
    with pytest.raises(InputError, match="trainer.precision was 'bf16-mixed' and is '32-true'"):
        check_resumable(RecipeCLI(options), run, Path("run"))


def test_a_recipe_may_have_auto(machine: Any, tmp_path: Path) -> None:
    machine(cpu=True)
    recipe = tmp_path / "auto.yaml"
    content = yaml.safe_load(find_recipe("digits_lenet").read_text())
    content["trainer"]["precision"] = "auto"
    recipe.write_text(yaml.safe_dump(content))
    assert RecipeCLI(["--config", str(recipe)]).trainer.precision == "bf16-mixed"
