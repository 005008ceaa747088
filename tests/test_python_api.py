"""`visiontasks.finetune` answers mistakes at once in the words of Python, and takes what the command takes."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import visiontasks
from visiontasks import python_training
from visiontasks.errors import InputError, MissingFileError
from visiontasks.python_api import finetune
from visiontasks.recipe import recipes_dir
from visiontasks.runs.folder import RECIPE

Given = dict[str, Any]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Given:
    """What would be trained: `arguments`, and recipe keys with their values as `keys`."""
    given: Given = {}

    def train_here(arguments: argparse.Namespace, overrides: Sequence[str]) -> str:
        given.update(arguments=arguments, keys=dict(zip(overrides[::2], overrides[1::2], strict=True)))
        return "run"

    monkeypatch.setattr(python_training, "train_here", train_here)
    return given


@pytest.fixture
def photos(in_tmp: Path, class_folders: Callable[..., Path]) -> Path:
    return class_folders(in_tmp / "my_images", {"cat": 2, "dog": 2})


def test_it_is_the_function_of_the_package() -> None:
    assert visiontasks.finetune is finetune


def test_options_become_recipe_keys(started: Given) -> None:
    run: Any = finetune("digits_lenet", epochs=3, lr=0.25, batch_size=8, seed=7, workers=0, device="cpu")
    assert run == "run"
    assert Path(started["arguments"].recipe).name == "digits_lenet.yaml"
    assert started["arguments"].resume is None
    assert started["keys"] == {
        "--trainer.max_epochs": "3",
        "--model.optimizer.lr": "0.25",
        "--data.batch_size": "8",
        "--seed_everything": "7",
        "--data.num_workers": "0",
        "--trainer.accelerator": "cpu",
        "--trainer.devices": "1",
    }


@pytest.mark.parametrize(
    "given",
    [
        {"trainer.max_epochs": 3},
        {"max_epochs": 3},
        {"num_train_epochs": 3},
        {"trainer": {"max_epochs": 3}},
        {"overrides": {"trainer.max_epochs": 3}},
        {"overrides": {"trainer": {"max_epochs": 3}}},
        {"overrides": ["--trainer.max_epochs", "3"]},
        {"overrides": ["trainer.max_epochs=3"]},
    ],
)
def test_one_key_in_all_its_forms(started: Given, given: dict[str, Any]) -> None:
    finetune("digits_lenet", **given)
    assert started["keys"] == {"--trainer.max_epochs": "3"}


def test_values_are_those_of_yaml(started: Given) -> None:
    finetune("digits_lenet", **{"data.augment": None, "finetune.cache_features": False, "data.image_size": (24, 32)})
    assert started["keys"] == {
        "--data.augment": "null",
        "--finetune.cache_features": "false",
        "--data.image_size": "[24, 32]",
    }


def test_own_options_of_the_command_are_taken(started: Given, photos: Path, in_tmp: Path) -> None:
    finetune(photos, weights="none", quick=True, out=in_tmp / "here", task="classification")
    arguments = started["arguments"]
    assert (arguments.quick, str(arguments.out), arguments.task) == (True, str(in_tmp / "here"), "classification")
    assert Path(started["keys"]["--data.root"]) == photos
    assert any("cat, dog" in reason for reason in arguments.reasons)
    assert not arguments.verbose
    finetune("digits_lenet", name="first", quick=False, verbose=True)
    arguments = started["arguments"]
    assert (arguments.name, arguments.quick, arguments.verbose) == ("first", False, True)


@pytest.mark.parametrize(
    "place", ["runs/digits_lenet/b", "runs/digits_lenet", "runs/digits_lenet/b/checkpoints/x.ckpt"]
)
def test_a_run_to_go_on_with_names_its_recipe(started: Given, in_tmp: Path, place: str) -> None:
    recipe = (recipes_dir() / "digits_lenet.yaml").read_text()
    for name in ("a", "b"):
        (in_tmp / "runs/digits_lenet" / name / "checkpoints").mkdir(parents=True)
        (in_tmp / "runs/digits_lenet" / name / RECIPE).write_text(recipe)
    (in_tmp / "runs/digits_lenet/b/checkpoints/x.ckpt").touch()
    finetune(resume=place)
    assert started["arguments"].recipe == "runs/digits_lenet/b/recipe.yaml"
    assert started["arguments"].resume == place


def test_a_folder_comes_as_anything_that_is_a_path(started: Given, photos: Path) -> None:
    finetune(photos, weights="none")
    from_path = started["keys"]
    finetune(str(photos), weights="none")
    assert started["keys"] == from_path


@pytest.mark.parametrize(
    ("arguments", "options", "answer"),
    [
        ((), {}, r"^required: a folder of images or a recipe, as in finetune\(\"my_images\"\)$"),
        (("my_image",), {}, "^no recipe 'my_image' and no folder of that name: did you mean my_images/"),
        (("digits_lene",), {}, "did you mean digits_lenet"),
        ((["my_images"],), {}, r"^got list \['my_images'\], expected a folder of images, a recipe's name or its file"),
        (("my_images", 10), {}, "^got int 10, expected a folder"),
        (("my_images", "my_images"), {}, "one folder is expected, or a recipe and a folder"),
        (("my_images",), {"epocs": 3}, r"^finetune\(\) takes no 'epocs': did you mean epochs\?$"),
        (("my_images",), {"foo": 3}, "^finetune.. takes no 'foo': expected epochs, lr, .*, or a recipe key$"),
        (("my_images",), {"overrides": {"foo": 3}}, "^finetune.. takes no 'foo': expected epochs"),
        (("my_images",), {"help": True}, "^finetune.. takes no 'help': expected epochs"),
        (("my_images",), {"overrides": "lr=1"}, "^overrides: got the text 'lr=1', expected a dict such as {'data."),
        (("my_images",), {"epochs": 0}, "^epochs 0: expected a whole number of 1 or more$"),
        (("my_images",), {"epochs": 2.5}, "^epochs 2.5: expected a whole number of 1 or more$"),
        (("my_images",), {"lr": -1}, "^lr -1: expected a learning rate above 0, such as 0.001$"),
        (("my_images",), {"learning_rate": float("nan")}, "^learning_rate NaN: expected a learning rate above 0"),
        (("my_images",), {"image_size": (1, 2, 3)}, r"^image_size \[1, 2, 3\]: expected pixels such as 224, or height"),
        (("my_images",), {"device": "tpu"}, "^device tpu: expected cpu, cuda, cuda:1, mps or auto$"),
        (("my_images",), {"seed": -1}, "^seed -1: expected a whole number from 0 to 4294967295$"),
        (("my_images",), {"gpus": 2}, '^gpus: device cuda is one GPU, device="cuda:1" on the second'),
        (("my_images",), {"patience": 3}, "^patience: the best epoch is stored in any case; to stop early as well: tr"),
        (("my_images",), {"task": "finding"}, "^task finding: expected classification, multilabel, "),
        (("my_images",), {"epochs": 3, "max_epochs": 4}, "^epochs 3 and max_epochs 4 set the same recipe key"),
        (("my_images",), {"trainer.max_epoch": 3}, "^unknown key max_epoch in trainer: did you mean max_epochs"),
        (("my_images",), {"trainer": {"max_epoch": 3}}, "^unknown key max_epoch in trainer: did you mean max_epochs"),
        (("my_images",), {"data.batchsize": 3}, r"^unknown key batchsize in data \(ImageFolder\): did you mean b"),
        (("my_images",), {"data.root": object()}, "^data.root: got object, expected a number, a text, a list or"),
        (("my_images",), {"weights": "w.pth"}, "^no weight file w.pth: give weights a file, 'hub' or 'none'$"),
        (("my_images",), {"backbone": "resnet5"}, "^unknown backbone 'resnet5'; did you mean resnet50, "),
        (("my_images",), {"backbone": "resnet34"}, '^no weights for resnet34 .* give weights a file .*, or take back'),
        ((), {"resume": "runs/none"}, "^resume runs/none: no run there; give its folder, runs/<recipe>/<start t"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("photos", "started")
def test_a_mistake_is_answered_in_the_words_of_python(arguments: Any, options: dict[str, Any], answer: str) -> None:
    with pytest.raises(InputError, match=answer) as caught:
        finetune(*arguments, **options)
    assert "--" not in str(caught.value)


@pytest.mark.usefixtures("photos")
def test_what_is_missing_is_also_a_file_not_found_error() -> None:
    with pytest.raises(MissingFileError):
        finetune("my_image")


def test_a_wrong_option_is_answered_without_a_heavy_import(in_tmp: Path) -> None:
    code = """
import sys, visiontasks
for options in ({"epocs": 3}, {"epochs": 0}, {"trainer.max_epoch": 1}):
    try:
        visiontasks.finetune("digits_lenet", **options)
    except ValueError as error:
        print(error)
print(*sorted({"torch", "lightning", "timm", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        "finetune() takes no 'epocs'",
        "epochs 0",
        "unknown key max_epoch in trainer",
    ]
    assert lines[3:] == [""]
    assert not list(in_tmp.iterdir())
