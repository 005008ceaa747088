"""From a recipe and overrides to task, data and trainer, by LightningCLI."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from jsonargparse import ArgumentError, Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from visiontasks.backbones import fixed_input_size, image_size
from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.finetune import FinetuneSchedule
from visiontasks.progress import EpochLines
from visiontasks.recipe_errors import explain
from visiontasks.runs import BEST
from visiontasks.tasks import Task

PACKAGES = ("visiontasks", "torch", "torchvision", "lightning", "timm", "albumentations", "torchmetrics")


class RecipeCLI(LightningCLI):
    """Makes task, data and trainer from a recipe and overrides.

    Args:
        args: `--config FILE` and overrides, as on the command line.
        run_dir: Folder that a training writes to; None for a measurement, which writes nothing.

    Raises:
        InputError: If a key, a type, a name or a value is wrong.
    """

    datamodule: DataModule
    model: Task

    def __init__(self, args: Sequence[str], *, run_dir: Path | None = None) -> None:
        self.run_dir = run_dir
        defaults = {
            "use_distributed_sampler": False,  # the data's own samplers never pad
            "enable_model_summary": False,  # the plan says it
        }
        try:
            super().__init__(
                Task,
                DataModule,
                args=list(args),
                run=False,
                save_config_callback=None,
                seed_everything_default=0,
                trainer_defaults=defaults,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={"exit_on_error": False, "allow_abbrev": False},
            )
        except (ArgumentError, ValueError) as error:
            raise InputError(explain(error, self.parser)) from error
        self.finetune: FinetuneSchedule = self.config_init["finetune"]

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add trainer, model and data; the last two without `None` as an alternative, which garbles errors."""
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{key}": value for key, value in self.trainer_defaults.items()})
        parser.add_argument("--model", type=Task, required=True)
        parser.add_argument("--data", type=DataModule, required=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the finetune section, and link what the data knows to the task."""
        parser.add_lightning_class_args(FinetuneSchedule, "finetune")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what was given, whatever is in sys.argv."""
        self.config: Namespace = parser.parse_args(args)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer; it logs to the run's folder unless the recipe has loggers of its own."""
        _check_image_size(self.model, self.datamodule)
        config = self.config_init["trainer"]
        callbacks: list[Callback] = list(config.get("callbacks") or [])
        if config.get("enable_progress_bar") is None:
            kwargs["enable_progress_bar"] = sys.stdout.isatty()
            callbacks += [RichProgressBar(leave=False)] if sys.stdout.isatty() else []
        if self.run_dir is None:
            kwargs |= {"logger": False, "enable_checkpointing": False}
        else:
            callbacks += [EpochLines(self.model.monitor), Provenance(self.dump(), self.datamodule)]
            callbacks += _checkpoints(self.run_dir, self.model)
            if config.get("logger") is None:
                logs: dict[str, Any] = {"save_dir": str(self.run_dir), "name": "", "version": ""}
                kwargs["logger"] = [CSVLogger(**logs), TensorBoardLogger(**logs)]
                callbacks.append(LearningRateMonitor(logging_interval="epoch"))
        return super().instantiate_trainer(**kwargs, callbacks=callbacks)

    def dump(self) -> str:
        """The resolved recipe as YAML; it can be run again."""
        text: str = self.parser.dump(self.config, skip_none=False)
        return text


class Provenance(Callback):
    """Writes into each checkpoint what it was trained by, as plain strings that weights_only loading takes.

    Args:
        recipe: The resolved recipe.
        datamodule: Knows the class names.
    """

    def __init__(self, recipe: str, datamodule: DataModule) -> None:
        self.recipe = recipe
        self.datamodule = datamodule

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the entry "visiontasks"."""
        checkpoint["visiontasks"] = {"recipe": self.recipe, "versions": versions(), **self.datamodule.state_dict()}


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {name: version(name) for name in PACKAGES} | {"python": python_version()}


def _checkpoints(run_dir: Path, task: Task) -> list[Callback]:
    path = run_dir / BEST
    best = ModelCheckpoint(
        path.parent, path.stem, monitor=task.monitor, mode=task.monitor_mode, enable_version_counter=False
    )
    # save_last=True would be written only when the best changes
    return [best, ModelCheckpoint(path.parent, "last", enable_version_counter=False)]


def _check_image_size(task: Task, datamodule: DataModule) -> None:
    wanted = image_size(task.backbone)
    if fixed_input_size(task.backbone) and datamodule.image_size != wanted:
        raise InputError(
            f"the backbone takes images of {wanted} px only, but data.init_args.image_size is {datamodule.image_size}: "
            f"set it to {wanted}"
        )
