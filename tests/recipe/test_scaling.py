"""Recipes fitted to what was typed."""

import json
from itertools import pairwise
from typing import Any

import pytest

from visiontasks.recipe import find_recipe, list_recipes, read_recipe
from visiontasks.recipe.scaling import fitted, quick_overrides


def recipe(*, augment: Any = None, resize: str = "crop", size: Any = 224, **sections: Any) -> dict[str, Any]:
    options = {"image_size": size, "resize": resize, "augment": augment, "batch_size": 32}
    return {"model": {}, "data": {"class_path": "ImageFolder", "init_args": options}, **sections}


def transform(name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": options}


def test_a_crop_to_the_input_follows_the_image_size() -> None:
    content = recipe(augment=[transform("RandomResizedCrop", size=[224, 224], scale=[0.35, 1.0])])
    overrides, notes = fitted(content, ["--data.image_size", "96"])
    assert overrides[:3] == ["--data.image_size", "96", "--data.augment"]
    assert json.loads(overrides[3]) == [transform("RandomResizedCrop", size=[96, 96], scale=[0.35, 1.0])]
    assert notes == ["augmentation at 96x96 pixels too (RandomResizedCrop)"]


def test_a_crop_of_images_that_keep_their_size_follows_height_and_width() -> None:
    crop = transform("RandomCrop", height=240, width=320, pad_if_needed=True)
    content = recipe(augment=[crop], resize="keep", size=[240, 320])
    overrides, notes = fitted(content, ["--data.init_args.image_size", "[64, 96]"])
    assert json.loads(overrides[3]) == [transform("RandomCrop", height=64, width=96, pad_if_needed=True)]
    assert notes == ["augmentation at 64x96 pixels too (RandomCrop)"]


def test_a_crop_before_the_resize_is_a_part_of_the_image_and_stays() -> None:
    content = recipe(augment=[transform("Pad", padding=4), transform("RandomCrop", height=32, width=32)], size=32)
    assert fitted(content, ["--data.image_size", "64"]) == (["--data.image_size", "64"], [])


def test_a_transform_within_others_follows_too() -> None:
    inner = transform("RandomResizedCrop", size=[224, 224])
    content = recipe(augment=[transform("OneOf", transforms=[inner]), transform("HorizontalFlip")])
    overrides, notes = fitted(content, ["--data.image_size", "96"])
    assert json.loads(overrides[3])[0]["init_args"]["transforms"] == [transform("RandomResizedCrop", size=[96, 96])]
    assert notes == ["augmentation at 96x96 pixels too (RandomResizedCrop)"]


@pytest.mark.parametrize(
    "overrides", [[], ["--data.image_size", "224"], ["--data.image_size", "96", "--data.augment", "null"]]
)
def test_augmentation_stays_where_size_or_augmentation_is_the_users(overrides: list[str]) -> None:
    content = recipe(augment=[transform("RandomResizedCrop", size=[224, 224])])
    assert fitted(content, overrides) == (overrides, [])


def test_a_shorter_training_is_validated_at_its_end() -> None:
    content = recipe(trainer={"max_epochs": 60, "check_val_every_n_epoch": 5})
    assert fitted(content, ["--trainer.max_epochs", "1"]) == (
        ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"],
        ["validated every epoch, not every 5 epochs as in the recipe"],
    )
    typed = ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "5"]
    assert fitted(content, typed) == (typed, [])
    assert fitted(content, ["--trainer.max_epochs", "5"]) == (["--trainer.max_epochs", "5"], [])


def test_a_shorter_training_freezes_by_the_recipes_share_instead_of_to_its_end() -> None:
    content = recipe(trainer={"max_epochs": 12}, finetune={"freeze_epochs": 3})
    assert fitted(content, ["--trainer.max_epochs", "3"]) == (
        ["--trainer.max_epochs", "3", "--finetune.freeze_epochs", "1"],  # 0.75 rounded
        ["the backbone is trained after epoch 1, in the recipe after epoch 3 of 12 (--freeze-epochs)"],
    )
    assert fitted(content, ["--trainer.max_epochs", "1"]) == (
        ["--trainer.max_epochs", "1", "--finetune.freeze_epochs", "0"],
        ["the backbone is trained from the start, in the recipe after epoch 3 of 12 (--freeze-epochs)"],
    )
    never = ["--trainer.max_epochs", "3", "--finetune.unfreeze", "never"]
    assert fitted(content, never) == (never, [])
    assert fitted(content, ["--trainer.max_epochs", "4"])[1] == []
    assert fitted(content, ["--trainer.max_epochs", "3", "--finetune.freeze_epochs", "0"])[1] == []


def test_a_quick_run_leaves_what_was_typed() -> None:
    overrides = quick_overrides(recipe(), ["--data.batch_size", "4", "--data.root", "mine"])
    given = dict(zip(overrides[::2], overrides[1::2], strict=True))
    assert given == {
        "--data.batch_size": "4",
        "--data.root": "mine",
        "--trainer.max_epochs": "1",
        "--trainer.check_val_every_n_epoch": "1",
        "--trainer.limit_train_batches": "3",
        "--trainer.limit_val_batches": "2",
        "--trainer.limit_test_batches": "2",
        "--finetune.freeze_epochs": "0",
        "--finetune.cache_features": "off",
    }


@pytest.mark.parametrize("recipe_name", [each.name for each in list_recipes()])
def test_every_shipped_recipe_takes_another_image_size_and_one_epoch(recipe_name: str) -> None:
    content = read_recipe(find_recipe(recipe_name))
    size = content["data"]["init_args"].get("image_size")
    overrides, _ = fitted(content, ["--data.image_size", "64", "--trainer.max_epochs", "1"])
    augment = next((text for key, text in pairwise(overrides) if key == "--data.augment"), "")
    sides = size if isinstance(size, list) else [size, size]
    assert f'"size": {sides}' not in augment
    if content["data"]["init_args"].get("resize") == "keep":
        assert f'"height": {sides[0]}' not in (augment or json.dumps(content["data"]["init_args"]["augment"]))
