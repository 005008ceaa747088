"""Recipes are found, listed and described without anything heavy."""

import re
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import yaml

from visiontasks.errors import InputError, MissingFileError
from visiontasks.recipe import (
    Recipe,
    class_name,
    describe,
    files,
    find_recipe,
    init_arg,
    list_recipes,
    read_recipe,
    recipes_dir,
)

RECIPE: dict[str, Any] = {
    "model": {"class_path": "ClassificationTask", "init_args": {"backbone": "resnet18.a1_in1k", "weights": "none"}},
    "data": {"class_path": "visiontasks.data.Digits"},
}


def write(path: Path, *, head: str = "", weights: str = "none", **data: Any) -> Path:
    content = yaml.safe_load(yaml.safe_dump(RECIPE))
    content["model"]["init_args"]["weights"] = weights
    content["data"] |= {"init_args": data} if data else {}
    path.write_text(head + yaml.safe_dump(content))
    return path


def test_a_shipped_recipe_is_found_by_its_name() -> None:
    assert find_recipe("digits_resnet") == recipes_dir() / "digits_resnet.yaml"


def test_a_file_of_ones_own_is_found_by_its_path(tmp_path: Path) -> None:
    for name in ("mine.yaml", "mine.yml"):
        path = write(tmp_path / name)
        assert find_recipe(str(path)) == path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits_resnt", "no recipe 'digits_resnt': did you mean digits_resnet"),
        ("mnist", "no recipe 'mnist': did you mean mnist_lenet?"),
        ("recipes/digits_resnet", "no recipe 'recipes/digits_resnet': did you mean digits_resnet"),
        ("digits_resnet.yaml", "no recipe file digits_resnet.yaml: did you mean digits_resnet"),
        ("zzz", "no recipe 'zzz': there are: cifar10_googlenet, cifar10_resnet, "),
        ("", "no recipe '': there are: "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match=re.escape(message)):
        find_recipe(name)


def test_all_recipes_are_listed_in_alphabetical_order() -> None:
    names = [r.name for r in list_recipes()]
    assert names == sorted(path.stem for path in recipes_dir().iterdir())
    assert len(names) >= 8


def test_recipes_come_from_inside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "visiontasks")
    assert recipes_dir() == tmp_path / "recipes"
    (tmp_path / "visiontasks" / "recipes").mkdir(parents=True)
    assert recipes_dir() == tmp_path / "visiontasks" / "recipes"


def test_a_recipe_is_described_by_its_own_words(tmp_path: Path) -> None:
    head = "# What it is.\n# measured: test/top1 0.9,\n#   3 seeds\n#   make finetune RECIPE=mine\n# more\n"
    assert describe(write(tmp_path / "mine.yaml", head=head)) == Recipe(
        name="mine",
        task="classification",
        backbone="resnet18.a1_in1k",
        data="Digits",
        needs_download=False,
        measured="test/top1 0.9, 3 seeds",
    )


def test_a_recipe_without_a_measurement_has_none(tmp_path: Path) -> None:
    assert describe(write(tmp_path / "mine.yaml")).measured == ""


@pytest.mark.parametrize(
    ("weights", "data", "needed"),
    [
        ("none", {}, False),
        ("hub", {}, True),
        ("weights/resnet18.safetensors", {}, False),
        ("none", {"download": True}, True),
        ("none", {"download": False}, False),
        ("hub", {"download": False}, True),
    ],
)
def test_a_download_is_needed_for_hub_weights_and_for_data_with_download(
    weights: str, data: dict[str, Any], needed: bool, tmp_path: Path
) -> None:
    assert describe(write(tmp_path / "mine.yaml", weights=weights, **data)).needs_download == needed


def test_hub_weights_inside_the_package_need_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PACKAGE", tmp_path)
    shipped = tmp_path / "backbones" / "pretrained" / "resnet18.a1_in1k.safetensors"
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    assert not describe(write(tmp_path / "mine.yaml", weights="hub")).needs_download


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model: [1, 2\ndata: 3", "is not YAML: line 2, column 5: expected ',' or ']'"),
        (b"model:\n\tbackbone: x", "is not YAML: line 2, column 1: found character '\\t'"),
        (b"\xff\xfe", "is not a text file in UTF-8: invalid start byte at byte 0"),
        (b"", "is not a recipe: expected sections such as model and data, got None"),
        (b"- 1\n- 2", "is not a recipe: expected sections such as model and data, got [1, 2]"),
        (b"data: {class_path: Digits}\nmodle: {}", "has no section model, only data, modle: add it"),
        (b"model: {class_path: X}", "has no section data, only model: add it"),
        (b"model: {init_args: {}}\ndata: {}", "model has no class_path, such as ClassificationTask: add it"),
        (b"model: {class_path: X}\ndata: {}", "data has no class_path, such as ImageFolder: add it"),
        (b"model: {class_path: X}\ndata:", "data has no class_path, such as ImageFolder: add it"),
        (b"model: resnet18\ndata: Digits", "model has no class_path, such as ClassificationTask: add it"),
        (b"model: {class_path: X, init_args: [1]}\ndata: {}", "model.init_args has no keys"),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_place(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        read_recipe(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no recipe file .*none.yaml"):
        read_recipe(tmp_path / "none.yaml")


def test_a_recipe_without_a_backbone_cannot_be_described(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {class_path: ClassificationTask, init_args: {}}\ndata: {class_path: Digits}")
    with pytest.raises(InputError, match=r"not a complete recipe: 'backbone'; expected .*model\.init_args\.backbone"):
        describe(path)


def test_listing_recipes_loads_no_heavy_library() -> None:
    code = "import sys; from visiontasks.recipe import list_recipes; list_recipes(); print(*sys.modules)"
    loaded = run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"torch", "lightning", "numpy", "timm", "rich"}.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("overrides", "value"),
    [
        ([], "hub"),
        (["--model.weights", "none"], "none"),
        (["--model.init_args.weights=a.pth", "--model.backbone", "x"], "a.pth"),
        (["--model.weights=a.pth", "--model.weights", "b.pth"], "b.pth"),
        (["--data.weights", "none"], "hub"),
        (["--model.weights"], "hub"),  # refused later
    ],
)
def test_the_last_override_of_an_argument_counts(overrides: list[str], value: str | None) -> None:
    assert init_arg({"model": {"init_args": {"weights": "hub"}}}, overrides, "model", "weights") == value


@pytest.mark.parametrize(
    ("overrides", "name"),
    [([], "Digits"), (["--data", "CIFAR10"], "CIFAR10"), (["--data.class_path=visiontasks.data.MNIST"], "MNIST")],
)
def test_the_class_of_a_section_is_known_by_its_short_name(overrides: list[str], name: str) -> None:
    assert class_name(RECIPE, overrides, "data") == name


def test_an_argument_that_nothing_gives_is_none() -> None:
    assert init_arg({"data": {"class_path": "Digits"}}, [], "data", "root") is None
