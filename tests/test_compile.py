"""`trainer.compile`: what computes the features is torch.compile's, and what comes out is the same."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch

from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.tasks import ClassificationTask
from visiontasks.tasks.base import compiled

DIGITS = ("--config", str(find_recipe("digits_lenet")))
Features = Callable[..., tuple[Any, ...]]


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    compiled.cache_clear()
    yield
    compiled.cache_clear()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches whose features a stand-in for torch.compile's function computed."""
    sizes: list[int] = []

    def compile_(function: Features) -> Features:
        def watched(task: ClassificationTask, image: torch.Tensor) -> tuple[Any, ...]:
            sizes.append(len(image))
            return function(task, image)

        return watched

    monkeypatch.setattr(torch, "compile", compile_)
    return sizes


def batch() -> dict[str, torch.Tensor]:
    image = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"image": image, "label": torch.tensor([0, 1, 2]), "index": torch.arange(3)}


def test_a_recipe_compiles_only_when_it_says_so(seen: list[int]) -> None:
    plain = RecipeCLI([*DIGITS]).model.eval()
    expected = plain.raw_output(batch())
    assert seen == []
    other = RecipeCLI([*DIGITS, "--trainer.compile", "true"]).model.eval()
    other.load_state_dict(plain.state_dict())
    assert torch.equal(other.raw_output(batch()), expected)
    assert seen == [3]


def test_the_resolved_recipe_says_it() -> None:
    assert "compile: false" in RecipeCLI([*DIGITS]).dump()
    assert "compile: true" in RecipeCLI([*DIGITS, "--trainer.compile", "true"]).dump()


def test_a_copy_computes_with_its_own_weights(seen: list[int]) -> None:
    task = RecipeCLI([*DIGITS, "--trainer.compile", "true"]).model.eval()
    torch.nn.init.ones_(task.head.get_parameter("linear.weight"))
    copy = deepcopy(task)  # as the moving average of the weights is
    with torch.no_grad():
        for parameter in copy.backbone.parameters():
            parameter.zero_()
    assert not torch.equal(copy.raw_output(batch()), task.raw_output(batch()))
    assert seen == [3, 3]


@pytest.mark.slow  # torch takes a minute where nothing is compiled yet
def test_compiled_features_are_those_that_are_not() -> None:
    task = RecipeCLI([*DIGITS, "--trainer.compile", "true"]).model.eval()
    image = task.normalize(batch()["image"])
    fast, plain = compiled(type(task).features)(task, image)[0], task.features(image)[0]
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_machine_that_cannot_compile_is_told_so(tmp_path: Any) -> None:
    command = [sys.executable, "-m", "visiontasks", "finetune", "digits_lenet", "--trainer.compile", "true"]
    nowhere = {"CXX": "/nonexistent/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [*command, "--trainer.accelerator", "cpu"],
        cwd=tmp_path,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: trainer.compile: torch cannot compile here, set it to false (InvalidCxxCompiler" in done.stderr
