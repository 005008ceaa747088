"""Short options and other tools' names for recipe keys."""

import shlex
from pathlib import Path

import pytest

from visiontasks.errors import InputError
from visiontasks.recipe.aliases import ALIASES, expand
from visiontasks.recipe.foreign import ANSWERS, COMMAND_ANSWERS, COMMANDS, FLAGS, OTHERS


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("--epochs 12", "--trainer.max_epochs 12"),
        ("--epochs=12", "--trainer.max_epochs 12"),
        ("epochs=12", "--trainer.max_epochs 12"),
        ("--max-epochs 12", "--trainer.max_epochs 12"),
        ("--max_epochs=12", "--trainer.max_epochs 12"),
        ("-e 12", "--trainer.max_epochs 12"),
        ("--trainer.max-epochs 12", "--trainer.max_epochs 12"),
        ("--trainer.max_epochs=12", "--trainer.max_epochs 12"),
        ("--lr 1e-3", "--model.optimizer.lr 0.001"),
        ("lr0=0.01", "--model.optimizer.lr 0.01"),
        ("--bs 4", "--data.batch_size 4"),
        ("batch=16", "--data.batch_size 16"),
        ("imgsz=320", "--data.image_size 320"),
        ("--image-size 240x320", "--data.image_size '[240, 320]'"),
        ("--img-size 240,320", "--data.image_size '[240, 320]'"),
        ("--arch resnet50", "--model.backbone resnet50"),
        ("--model resnet50", "--model.backbone resnet50"),
        ("--model ClassificationTask", "--model ClassificationTask"),
        ("--weights none", "--model.weights none"),
        ("--pretrained", "--model.weights hub"),
        ("--pretrained false", "--model.weights none"),
        ("--pretrained weights.pth", "--model.weights weights.pth"),
        ("--freeze-epochs 0", "--finetune.freeze_epochs 0"),
        ("--num-workers 0", "--data.num_workers 0"),
        ("--device cpu", "--trainer.accelerator cpu --trainer.devices 1"),
        ("--device cuda", "--trainer.accelerator cuda --trainer.devices 1"),
        ("device=0", "--trainer.accelerator cuda --trainer.devices '[0]'"),
        ("--device cuda:1", "--trainer.accelerator cuda --trainer.devices '[1]'"),
        ("--device 0,1", "--trainer.accelerator cuda --trainer.devices '[0, 1]'"),
        ("--random-state 3", "--seed_everything 3"),
        ("--data ../my_images", "--data.root ../my_images"),
        ("data=my_images", "--data.root my_images"),
        ("--data VOCBoxes", "--data VOCBoxes"),
        ("--wd 0.1", "--model.optimizer.weight_decay 0.1"),
        ("--init-from runs/x", "--init_from runs/x"),
        ("--cpu --epochs 3", "--trainer.accelerator cpu --trainer.max_epochs 3"),
        ("--epochs 3 --epochs 5", "--trainer.max_epochs 3 --trainer.max_epochs 5"),
    ],
)
def test_an_option_in_any_form_is_its_recipe_key(words: str, keys: str) -> None:
    assert expand(shlex.split(words)) == shlex.split(keys)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--epochs two", "--epochs two: expected a whole number of 1 or more"),
        ("--epochs 0", "--epochs 0: expected a whole number of 1 or more"),
        ("--epochs", "--epochs needs a value"),
        ("--epochs=", "--epochs needs a value"),
        ("--max-epochs 1.5", "--max-epochs 1.5: expected a whole number"),
        ("--lr -1", "--lr -1: expected a learning rate above 0"),
        ("--lr inf", "--lr inf: expected a learning rate above 0"),
        ("--image-size big", "--image-size big: expected pixels such as 224, or height and width such as 240x320"),
        ("--image-size 0", "--image-size 0: expected pixels"),
        ("--seed 4294967296", "expected a whole number from 0 to 4294967295"),
        ("--device tpu", "--device tpu: expected cpu, cuda, cuda:1, mps or auto"),
        ("--epcohs 3", "unknown option --epcohs: did you mean --epochs"),
        ("--foo 3", "unknown option --foo: --help lists the options, --print_config all recipe keys"),
        ("--gpus 1", "--gpus: --device cuda is one GPU"),
        ("gpus=1", "gpus: --device cuda is one GPU"),
        ("--conf 0.3", "--conf: nothing is cut off below a threshold: `visiontasks predict"),
        ("--num_classes 3", "--num_classes: the number of classes comes from the data"),
        ("--bs 4 --data.batch_size 5", "--bs 4 and --data.batch_size 5 set the same recipe key, data.batch_size"),
        ("photos", "unexpected argument 'photos'"),
    ],
)
def test_what_no_option_means_is_answered_as_it_was_typed(words: str, answer: str) -> None:
    with pytest.raises(InputError) as error:
        expand(shlex.split(words))
    assert answer in str(error.value)


def test_two_forms_with_the_same_value_do_not_contradict() -> None:
    assert expand(["--bs", "4", "--data.batch_size", "4"]) == ["--data.batch_size", "4"] * 2


def test_a_file_with_an_equals_sign_in_its_name_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("epochs=3").touch()
    with pytest.raises(InputError, match="unexpected argument 'epochs=3'"):
        expand(["epochs=3"])


def test_no_name_of_another_tool_has_two_meanings() -> None:
    assert not OTHERS.keys() & ANSWERS.keys()
    assert not COMMANDS.keys() & COMMAND_ANSWERS.keys()
    own = {alias.option.removeprefix("--") for alias in ALIASES} | {"name", "out", "task", "quick", "resume"}
    assert not own & (OTHERS.keys() | ANSWERS.keys())
    assert all(name == name.lower() and "_" not in name for name in {*OTHERS, *ANSWERS, *FLAGS})
