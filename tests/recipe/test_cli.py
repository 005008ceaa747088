"""From recipe and overrides to task, data and trainer."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, ProgressBar, RichProgressBar
from lightning.pytorch.loggers import CSVLogger

from visiontasks.backbones import input_size
from visiontasks.data import Digits, ImageFolder
from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.recipe.record import describe_machine
from visiontasks.training.run_progress import RunProgress
from visiontasks.training.trackers import Events

DIGITS = ("--config", str(find_recipe("digits_lenet")))


def for_training(tmp_path: Path, *overrides: str) -> RecipeCLI:
    return RecipeCLI([*DIGITS, *overrides], run_dir=tmp_path / "run")


def names(objects: Any) -> list[str]:
    return [type(item).__name__ for item in objects]


def test_a_recipe_becomes_task_data_and_trainer(tmp_path: Path) -> None:
    cli = for_training(tmp_path)
    assert isinstance(cli.datamodule, Digits)
    assert type(cli.model.backbone).__name__ == "LeNet5"
    assert cli.trainer.max_epochs == 30
    assert not list(tmp_path.iterdir())  # nothing is written before the data is known to be good


def test_the_plan_names_what_the_training_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiontasks.recipe.record.available_cores", lambda: 4)
    monkeypatch.setattr("visiontasks.recipe.record.allocator", lambda: "allocator keeps memory")
    trainer = RecipeCLI([*DIGITS, "--trainer.precision", "bf16-mixed", "--trainer.accelerator", "cpu"]).trainer
    rest = "allocator keeps memory, precision bf16-mixed, channels_last"
    assert describe_machine(trainer) == f"1 of 4 cores, {rest}"  # tests compute with one thread
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    assert describe_machine(trainer) == f"4 cores, {rest}"


def test_overrides_change_keys_in_the_short_and_the_long_form(tmp_path: Path) -> None:
    cli = for_training(tmp_path, "--data.batch_size", "7", "--data.init_args.image_size=40", "--trainer.max_epochs=2")
    assert (cli.datamodule.batch_size, cli.datamodule.image_size, cli.trainer.max_epochs) == (7, (40, 40), 2)


def test_a_class_can_be_replaced_and_keeps_the_values_that_it_knows(
    tmp_path: Path, class_folders: Callable[..., Path]
) -> None:
    root = class_folders(tmp_path, {"cat": 3, "cow": 3, "dog": 3})
    cli = for_training(tmp_path, "--data", "ImageFolder", "--data.root", str(root))
    assert isinstance(cli.datamodule, ImageFolder)
    assert cli.datamodule.batch_size == 32


def test_class_count_and_seed_are_linked(tmp_path: Path, class_folders: Callable[..., Path]) -> None:
    root = class_folders(tmp_path, {"cat": 3, "cow": 3, "dog": 3})
    overrides = ("--data", "ImageFolder", "--data.root", str(root), "--seed_everything", "17")
    cli = for_training(tmp_path, *overrides)
    assert cli.model.head(torch.zeros(1, 84)).shape == (1, 3)
    assert cli.datamodule.seed == 17


def test_what_is_on_the_command_line_of_another_program_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--trainer.max_epochs", "3", "nonsense"])
    assert for_training(tmp_path).trainer.max_epochs == 30


def test_a_training_is_logged_checkpointed_and_scheduled(tmp_path: Path) -> None:
    cli = for_training(tmp_path)
    assert [type(logger) for logger in cli.trainer.loggers] == [Events]
    assert {Path(str(logger.log_dir)) for logger in cli.trainer.loggers} == {tmp_path / "run"}
    wanted = {"History", "LastCheckpoint", "Record", "LearningRateMonitor", "FinetuneSchedule"}
    callbacks: Any = cli.trainer.callbacks
    assert wanted <= set(names(callbacks))
    checkpoints = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    assert [(c.filename, c.monitor) for c in checkpoints] == [("best", "val/top1")]
    assert cli.finetune in callbacks
    assert isinstance(cli.finetune, FinetuneSchedule)


def test_a_measurement_writes_nothing() -> None:
    cli = RecipeCLI(list(DIGITS))
    assert cli.trainer.loggers == []
    assert cli.trainer.checkpoint_callbacks == []


def test_an_average_that_is_never_measured_is_refused(tmp_path: Path) -> None:
    swa = "{class_path: StochasticWeightAveraging, init_args: {swa_lrs: 0.01}}"
    with pytest.raises(InputError, match=r"trainer.callbacks: StochasticWeightAveraging, .*use model.init_args.ema_de"):
        for_training(tmp_path, "--trainer.callbacks", f"[{swa}]")


def test_loggers_and_callbacks_of_the_recipe_are_kept(tmp_path: Path) -> None:
    stop = "{class_path: EarlyStopping, init_args: {monitor: val/loss}}"
    log = f"{{class_path: CSVLogger, init_args: {{save_dir: {tmp_path}}}}}"
    cli = for_training(tmp_path, "--trainer.callbacks", f"[{stop}]", "--trainer.logger", log)
    assert [type(logger) for logger in cli.trainer.loggers] == [Events, CSVLogger]
    callbacks: Any = cli.trainer.callbacks
    assert len([callback for callback in callbacks if isinstance(callback, EarlyStopping)]) == 1
    assert len([callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]) == 1


def test_lightning_does_not_pad_the_evaluation_of_several_processes(tmp_path: Path) -> None:
    assert not for_training(tmp_path).trainer._accelerator_connector.use_distributed_sampler


@pytest.mark.parametrize(("option", "shown"), [([], True), (["--trainer.enable_progress_bar", "false"], False)])
def test_a_training_has_one_bar_of_ours(option: list[str], shown: bool, tmp_path: Path) -> None:
    cli = for_training(tmp_path, *option)
    callbacks: Any = cli.trainer.callbacks
    assert [each for each in callbacks if isinstance(each, RunProgress | ProgressBar)] == [cli.progress]
    assert cli.progress.is_shown is shown


def test_a_bar_of_the_recipe_replaces_ours(tmp_path: Path) -> None:
    cli = for_training(tmp_path, "--trainer.callbacks", "[{class_path: RichProgressBar}]")
    callbacks: Any = cli.trainer.callbacks
    assert [type(each) for each in callbacks if isinstance(each, RunProgress | ProgressBar)] == [RichProgressBar]
    assert not cli.progress.is_shown


def test_resolved_recipe_is_itself_a_recipe_with_the_same_values_nulls_included(tmp_path: Path) -> None:
    every_5_batches = ("--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "5")
    first = for_training(tmp_path, *every_5_batches, "--seed_everything", "3").dump()
    (tmp_path / "resolved.yaml").write_text(first)
    again = RecipeCLI(["--config", str(tmp_path / "resolved.yaml")], run_dir=tmp_path / "run")
    assert again.dump() == first
    assert again.trainer.check_val_every_n_epoch is None
    assert again.datamodule.seed == 3
    resolved = yaml.safe_load(first)
    assert "num_classes" not in resolved["model"]["init_args"]
    assert "seed" not in resolved["data"]["init_args"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--model.num_classes=3", "model.init_args.num_classes cannot be set in a recipe: it comes from the data"),
        ("--model.init_args.num_classes=3", "model.init_args.num_classes cannot be set in a recipe"),
        ("--data.seed=3", "data.init_args.seed cannot be set in a recipe: it comes from seed_everything"),
    ],
)
def test_what_a_link_would_silently_replace_is_refused(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        for_training(tmp_path, override)


@pytest.mark.parametrize("given", ["{255:1}", "{0: 0,255:1}"])
def test_a_mapping_without_spaces_is_refused_with_the_spaces(given: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a space after each colon, as '\{.*255: 1\}'"):
        for_training(tmp_path, "--data.values", given)
    with pytest.raises(InputError, match="expected a space after each colon"):
        for_training(tmp_path, f"--data.values={given}")


def test_trying_an_image_size_changes_nothing_in_the_network(tmp_path: Path) -> None:
    overrides = ("--model.backbone", "resnet20_cifar", "--model.in_chans", "3")
    tried, untried = (for_training(tmp_path, *overrides, "--data.image_size", size).model for size in ("40", "32"))
    assert all(module.training for module in tried.modules())
    before = untried.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in tried.state_dict().items())


def test_a_network_that_fails_at_its_own_size_too_keeps_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("visiontasks.backbones.lenet.LeNet5.forward", fault)
    with pytest.raises(RuntimeError, match="^a bug$"):
        for_training(tmp_path, "--data.image_size", "40")


@pytest.mark.parametrize("given", ["[24, 40]", "[24,40]"])
def test_height_and_width_can_be_given_on_the_command_line(tmp_path: Path, given: str) -> None:
    overrides = ("--model.backbone", "resnet20_cifar", "--model.in_chans", "3", "--data.image_size", given)
    cli = for_training(tmp_path, *overrides)
    assert cli.datamodule.image_size == (24, 40)
    cli.datamodule.setup()
    assert next(iter(cli.datamodule.val_dataloader()))["image"].shape[2:] == (24, 40)


def test_height_and_width_of_a_recipe_outlive_being_resolved(tmp_path: Path) -> None:
    recipe = yaml.safe_load(find_recipe("digits_resnet").read_text())
    recipe["data"]["init_args"]["image_size"] = [24, 40]
    recipe["model"]["init_args"] |= {"backbone": "resnet20_cifar", "weights": "none"}
    path = tmp_path / "oblong.yaml"
    path.write_text(yaml.safe_dump(recipe))
    resolved = RecipeCLI(["--config", str(path)]).dump()
    assert yaml.safe_load(resolved)["data"]["init_args"]["image_size"] == [24, 40]
    path.write_text(resolved)
    assert RecipeCLI(["--config", str(path)]).datamodule.image_size == (24, 40)


@pytest.mark.parametrize(
    ("size", "given", "proposed"),
    [("30", "30 px", "32"), ("[160, 97]", "160x97 px", r"\[160, 96\]"), ("[90, 160]", "90x160 px", r"\[96, 160\]")],
)
def test_sizes_that_a_network_cannot_take_are_refused_with_the_nearest_that_it_can(
    tmp_path: Path, size: str, given: str, proposed: str
) -> None:
    overrides = ("--model.backbone", "test_vit", "--model.in_chans", "3", "--data.image_size", size)
    reason = "not a multiple of its patches of 16x16 px"
    with pytest.raises(
        InputError, match=rf"cannot take images of {given} \({reason}\): set data.init_args.image_size to {proposed}$"
    ):
        for_training(tmp_path, *overrides)


@pytest.mark.parametrize(("given", "size"), [("32", (32, 32)), ("[96, 160]", (96, 160))])
def test_a_vision_transformer_is_built_for_the_size_of_the_data(
    tmp_path: Path, given: str, size: tuple[int, int]
) -> None:
    overrides = ("--model.backbone", "vit_tiny_patch16_224", "--model.in_chans", "3", "--data.image_size", given)
    backbone = for_training(tmp_path, *overrides).model.backbone
    assert input_size(backbone) == size
    assert backbone.pos_embed.shape[1] - 1 == size[0] * size[1] // 16**2


def test_the_size_of_the_networks_images_is_given_with_the_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model.init_args.image_size cannot .*it comes from data.init_args.image_size"):
        for_training(tmp_path, "--model.image_size", "32")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("[24, 40, 3]", "data.init_args.image_size: "),
        ("[24]", "data.init_args.image_size: "),
        ("large", "data.init_args.image_size: "),
        ("[0, 24]", "data.init_args.image_size: 0, expected at least 1"),
    ],
)
def test_sizes_that_are_no_height_and_width_are_refused(tmp_path: Path, size: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        for_training(tmp_path, "--data.image_size", size)


def test_a_limit_of_1_is_one_batch_whatever_order_typing_has_cached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(Trainer.__init__.__annotations__, "limit_train_batches", float | int | None)
    cli = RecipeCLI([*DIGITS, "--trainer.limit_train_batches", "1"], run_dir=tmp_path / "run")
    limit = cli.config["trainer"]["limit_train_batches"]
    assert (limit, type(limit)) == (1, int)
