"""Recipe keys and types of their values, found without importing the classes that have them."""

import inspect
import time
from typing import Any

import pytest
from lightning.pytorch import Trainer

from visiontasks import data, tasks
from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.recipe import find_recipe, list_recipes, read_recipe
from visiontasks.recipe.keys import NOT_IN_A_RECIPE, PACKAGE, argument_types, check_keys


@pytest.mark.parametrize("name", [recipe.name for recipe in list_recipes()])
def test_every_shipped_recipe_has_known_keys_and_types(name: str) -> None:
    check_keys(read_recipe(find_recipe(name)), [])


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        ("--trainr.max_epochs 3", "unknown key trainr.max_epochs: did you mean trainer.max"),
        (
            "--trainer.max_epoch 3",
            "unknown key max_epoch in trainer: did you mean max_epochs, min_epochs",
        ),
        ("--trainer.max_epochs three", "trainer.max_epochs: expected int or null, got 'three'"),
        ("--trainer.max_epochs=1.5", "trainer.max_epochs: expected int or null, got 1.5"),
        ("--model.bakbone x", "unknown key bakbone in model (ClassificationTask): did you mean backbone?"),
        ("--data.init_args.batchsize 3", "unknown key batchsize in data (Digits): did you mean batch_size?"),
        ("--data MaskFolder --data.ignore 3", "unknown key ignore in data (MaskFolder): did you mean ignored?"),
        ("--data.resize stretch", "data.init_args.resize: expected 'crop', 'squash', 'letterbox' or 'keep'"),
        ("--model.in_chans 2", "model.init_args.in_chans: expected 1 or 3, got 2"),
        ("--finetune.unfreeze some", "finetune.unfreeze: expected 'all', 'stages' or 'never', got 'some'"),
        ("--finetune.freeze 3", "unknown key freeze in finetune: did you mean unfreeze or freeze_epochs?"),
        ("--data.num_workers true", "data.init_args.num_workers: expected int or null, got True"),
    ],
)
def test_a_wrong_key_or_value_is_refused_in_the_words_of_the_parser(overrides: str, answer: str) -> None:
    with pytest.raises(InputError) as error:
        check_keys(read_recipe(find_recipe("digits_lenet")), overrides.split())
    assert answer in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        "--trainer.max_epochs null",
        "--model.optimizer.lr 1e-3",
        "--model.optimizer.anything x",
        "--model.label_smoothing 1",
        "--finetune.cache_features off",
        "--model.num_classes 3",  # refused by its own message
        "--data mine.MyData --data.whatever 3",
        "--model.head mine.Head",
        "--trainer.precision bf16-mixed",
        "--trainer.devices [0]",
        "--print_config",
    ],
)
def test_what_is_not_certain_passes_to_the_parser(overrides: str) -> None:
    check_keys(read_recipe(find_recipe("digits_lenet")), overrides.split())


def constructors() -> dict[str, type]:
    classes = {name: getattr(module, name) for module in (data, tasks) for name in module.__all__}
    own = {name: kind for name, kind in classes.items() if inspect.isclass(kind) and name not in ("DataModule", "Task")}
    return {name: kind for name, kind in own.items() if issubclass(kind, data.DataModule | tasks.Task)}


@pytest.mark.parametrize("name", constructors())
def test_arguments_from_the_source_are_those_of_the_constructor(name: str) -> None:
    kind = constructors()[name]
    names: set[str] = set()
    for each in kind.__mro__:  # as jsonargparse follows **kwargs to the parents
        parameters: Any = inspect.signature(each.__init__).parameters.values()  # type: ignore[misc]
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    folder = PACKAGE / ("data" if issubclass(kind, data.DataModule) else "tasks")
    assert {*(argument_types(folder, name) or ())} - NOT_IN_A_RECIPE == names - NOT_IN_A_RECIPE


def test_keys_of_trainer_and_finetune_are_those_of_their_classes() -> None:
    schedule = argument_types(PACKAGE / "finetuning", "FinetuneSchedule")
    assert schedule is not None
    assert {*schedule} - {"self"} == {*inspect.signature(FinetuneSchedule).parameters}
    check_keys(read_recipe(find_recipe("digits_lenet")), [f"--trainer.{key}" for key in _trainer_keys()])


def _trainer_keys() -> list[str]:
    return [f"{key}=null" for key, value in inspect.signature(Trainer).parameters.items() if "None" in str(value)]


def test_keys_are_checked_in_a_tenth_of_a_second() -> None:
    content = read_recipe(find_recipe("digits_lenet"))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        check_keys(content, [])
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1


def test_arguments_of_a_class_that_a_later_override_replaces_are_dropped_with_it() -> None:
    content = read_recipe(find_recipe("folder_localize"))
    check_keys(content, ["--data.multiple", "first", "--data", "Digits"])
    with pytest.raises(InputError, match="unknown key multiple in data \\(Digits\\)"):
        check_keys(content, ["--data", "Digits", "--data.multiple", "first"])
