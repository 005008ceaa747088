"""From a recipe and overrides to task, data and trainer, by LightningCLI."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args

import yaml
from docstring_parser import DocstringStyle
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from visiontasks import data
from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.recipe import class_name, read_recipe
from visiontasks.recipe.checks import (
    check_callbacks,
    check_image_size,
    check_limits,
    check_mappings,
    check_seed,
    check_target,
    check_task,
    is_out_of_memory,
)
from visiontasks.recipe.classes import check_classes, check_sections
from visiontasks.recipe.errors import explain, explain_construction
from visiontasks.recipe.files import LOCALIZATION, modernized
from visiontasks.recipe.init_from import Start, read_start
from visiontasks.recipe.keys import LINKED
from visiontasks.recipe.record import Record
from visiontasks.runs.checkpoint import CheckpointFiles
from visiontasks.runs.folder import BACKBONE, METRICS
from visiontasks.tasks import Task
from visiontasks.training.interruptions import BestCheckpoint, Interruptions, LastCheckpoint
from visiontasks.training.precision import AUTO, resolve_precision, warn_if_emulated
from visiontasks.training.progress import History
from visiontasks.training.run_progress import RunProgress
from visiontasks.training.timing import TimeSpent
from visiontasks.training.trackers import all_loggers, missing_package

set_parsing_settings(docstring_parse_style=DocstringStyle.GOOGLE)  # by default each docstring is parsed in all styles
for _name in data.__all__:
    getattr(
        data, _name
    )  # imports it: a recipe may name any class by its short name, which jsonargparse finds then alone


class RecipeCLI(LightningCLI):
    """Makes task, data and trainer from a recipe and overrides.

    Args:
        args: `--config FILE` and overrides, as on the command line.
        run_dir: Folder that a training writes to; None for a measurement, which writes nothing.
        interruptions: Asks a training for its end.
        first_step: Steps of the optimizer that a resumed training has done.
        verbose: Print machine, learning rates, cache and shares of time too.

    Attributes:
        progress: Shows how far a run is, until its context ends.

    Raises:
        InputError: If a key, a type, a name or a value is wrong.
    """

    datamodule: DataModule
    model: Task

    def __init__(
        self,
        args: Sequence[str],
        *,
        run_dir: Path | None = None,
        interruptions: Interruptions | None = None,
        first_step: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.run_dir = run_dir
        self.interruptions = interruptions or Interruptions()
        self.first_step = first_step
        self.verbose = verbose
        self.time_spent = TimeSpent(verbose=verbose)
        self.progress = RunProgress(is_shown=False)
        self.start: Start | None = None
        """What `init_from` names, of a training that begins."""
        self._given: dict[str, Any] = {}
        """Arguments of the task that `init_from` replaces, as the recipe has them."""
        defaults = {
            "use_distributed_sampler": False,  # the data's own samplers never pad
            "enable_model_summary": False,  # the plan has it
        }
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
        self.finetune: FinetuneSchedule = self.config_init["finetune"]
        self.finetune.verbose = verbose

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add trainer, model and data; the last two without `None` as an alternative, which garbles errors."""
        _integers_first(Trainer.__init__)
        parser.add_class_arguments(
            Trainer, "trainer", fail_untyped=False, instantiate=False, sub_configs=True, skip={"precision"}
        )
        known = inspect.signature(Trainer).parameters["precision"].annotation
        parser.add_argument("--trainer.precision", type=known | Literal[AUTO], default=None)
        parser.add_argument("--trainer.compile", type=bool, default=False, help="torch.compile the backbone")
        parser.set_defaults({f"trainer.{key}": value for key, value in self.trainer_defaults.items()})
        parser.add_argument("--model", type=Task, required=True)
        parser.add_argument("--data", type=DataModule, required=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the finetune section, and link the number of classes and the image size to the task."""
        parser.add_lightning_class_args(FinetuneSchedule, "finetune")
        parser.add_argument("--init_from", type=str | None, default=None, help="a run to start from: backbone and head")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.init_args.image_size", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what was given, whatever is in sys.argv."""
        _refuse_linked(args)
        check_mappings(args)
        try:
            self.config: Namespace = parser.parse_args(_modern(args))
        except ArgumentError as error:
            raise missing_package(error) or InputError(explain(error, parser)) from error
        check_classes(self.config)
        check_seed(self.config["seed_everything"])
        trainer = self.config["trainer"]
        trainer["precision"] = resolve_precision(trainer["precision"], trainer["accelerator"])

    def before_instantiate_classes(self) -> None:
        """Let a training's backbone start from `init_from`; a resumed one's is already in its own folder."""
        if self.config["init_from"] is None or self.run_dir is None:
            return
        options = self.config["model"]["init_args"]
        self._given = {key: options[key] for key in ("backbone", "weights")}
        if self.first_step is None:
            self.start = read_start(self.config["init_from"])
            options["weights"] = str(self.start.path)
        elif (self.run_dir / BACKBONE).is_dir():
            options["backbone"], options["weights"] = f"local-dir:{self.run_dir / BACKBONE}", "none"

    def instantiate_classes(self) -> None:
        """Make data, task and trainer; wrong values of a class that the recipe names are errors of the user."""
        try:
            super().instantiate_classes()
        except (ImportError, ValueError) as error:
            missing = missing_package(error)
            message = str(missing) if missing else explain_construction(error)
            if message is None:
                raise
            if self.start is not None:
                message = message.replace("model.init_args.weights", "init_from")
            raise InputError(message) from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(f"the network is too large for the memory: make its head smaller ({error})") from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer; it logs to the run's folder and to the loggers of the recipe."""
        check_task(self.model)
        self.model.arguments["init_args"].update(self._given)  # checkpoints of a resumed training name what was given
        check_target(self.model, self.datamodule)
        check_image_size(self.model, self.datamodule.image_size)
        config = self.config_init["trainer"]
        self.model.is_compiled = config.pop("compile")
        check_limits(config)
        given = config.get("callbacks") or []
        callbacks: list[Callback] = [given] if isinstance(given, Callback) else list(given)
        has_own_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if not has_own_bar:
            self.progress = RunProgress(is_shown=config.get("enable_progress_bar") is not False)
            callbacks.append(self.progress)
        kwargs["enable_progress_bar"] = has_own_bar
        if self.run_dir is None:
            kwargs |= {"logger": False, "enable_checkpointing": False}
        else:
            check_callbacks(callbacks)
            callbacks += [
                Record(self.dump, self.datamodule, self.run_dir, verbose=self.verbose),
                History(self.run_dir / METRICS, self.model.monitor, self.model.monitor_mode),
                BestCheckpoint(self.run_dir, self.model.monitor, self.model.monitor_mode),
                LastCheckpoint(self.run_dir, self.interruptions),
                self.time_spent,
            ]
            kwargs["plugins"] = [*(config.get("plugins") or []), CheckpointFiles()]
            kwargs["logger"] = all_loggers(config.get("logger"), self.run_dir, first_step=self.first_step)
            callbacks += [LearningRateMonitor(logging_interval="epoch")] if kwargs["logger"] else []
        try:
            trainer = super().instantiate_trainer(**kwargs, callbacks=callbacks)
        except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
            raise InputError(f"trainer: {error}") from error
        warn_if_emulated(trainer)
        return trainer

    def dump(self) -> str:
        """The resolved recipe as YAML; it can be run again."""
        config = self.config.clone()
        for key, value in self._given.items():
            config["model"]["init_args"][key] = value
        if hasattr(self, "datamodule") and "batch_size" in config["data"]["init_args"]:
            config["data"]["init_args"]["batch_size"] = self.datamodule.batch_size
        text: str = self.parser.dump(config, "yaml", False)  # nulls too; the third has got a new name
        return text


def recipe_data(recipe: Path, overrides: Sequence[str]) -> DataModule:
    """Make the data of a recipe, without its task; the rest of it is only checked for wrong keys and types.

    Args:
        recipe: A recipe's file.
        overrides: `--key value` pairs.

    Raises:
        InputError: If a key, a type, a name or a value is wrong.
    """
    return _DataCLI(["--config", str(recipe), *overrides]).datamodule


def recipe_parts(recipe: Path, overrides: Sequence[str]) -> tuple[DataModule, str, str]:
    """As `recipe_data`, with the recipe's backbone and where its weights are from."""
    made = _DataCLI(["--config", str(recipe), *overrides])
    options = made.config["model"]["init_args"]
    return made.datamodule, str(options["backbone"]), str(options["weights"])


def recipe_config(recipe: Path, overrides: Sequence[str]) -> Namespace:
    """All keys of a recipe with overrides and defaults; `get` takes dotted ones."""
    return _DataCLI(["--config", str(recipe), *overrides]).config


class _DataCLI(RecipeCLI):
    def instantiate_classes(self) -> None:
        self.config_init = self.config
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--data", type=DataModule)
        try:
            self.datamodule = parser.instantiate_classes({"data": self.config["data"]})["data"]
        except ValueError as error:
            message = explain_construction(error)
            if message is None:
                raise
            raise InputError(message) from error


def _integers_first(function: Callable[..., object]) -> None:
    """Put int before float in a function's hints, since the first type that fits decides: 1 batch, or 1.0, all of them.

    typing caches `Optional[Union[int, float]]` by equality, so the order in which a library wrote it depends on what
    was imported before, in Lightning 2.6.6 on whether rich was (Lightning-AI/pytorch-lightning#21259).
    """
    for name, hint in function.__annotations__.items():
        types = get_args(hint)
        if int in types and float in types:
            function.__annotations__[name] = Union[tuple(sorted(types, key=lambda each: each is float))]  # noqa: UP007


def _refuse_linked(args: Sequence[str]) -> None:
    """Refuse what jsonargparse would silently replace by the value of a link."""
    given = {arg[2:].partition("=")[0].replace(".init_args", "") for arg in args if arg.startswith("--")}
    content = read_recipe(Path(args[args.index("--config") + 1])) if "--config" in args else {}
    if content:
        check_sections(content, args)
    for section in ("model", "data"):
        given |= {f"{section}.{key}" for key in content.get(section, {}).get("init_args") or {}}
    for key, instead in LINKED.items():
        if key in given:
            raise InputError(f"{key.replace('.', '.init_args.')} cannot be set in a recipe: {instead}")
    if "model.classifier" in given and class_name(content, args, "model") == LOCALIZATION:
        raise InputError(
            "model.init_args.classifier is now init_from: give --init_from RUN, and --model.freeze_classes true where "
            "model.init_args.class_weight is 0"
        )


def _modern(args: Sequence[str]) -> list[str]:
    """Arguments with the text of an older recipe in today's keys in place of its path."""
    args = list(args)
    place = args.index("--config") + 1 if "--config" in args else 0
    if place:
        written = yaml.safe_load(Path(args[place]).read_text(encoding="utf-8"))
        content = modernized(written)
        if content is not written:
            args[place] = yaml.safe_dump(content)
    return args
