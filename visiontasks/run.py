"""A run: a recipe made into objects, trained, measured, and written to its folder."""

import json
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from platform import machine, platform, python_version
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.finetune import FinetuneSchedule
from visiontasks.ops.metrics import wilson_interval
from visiontasks.progress import EpochLines
from visiontasks.runs import BEST, RECIPE, RESULT, new_run_dir, recipe_name
from visiontasks.tasks import Task

PACKAGES = ("visiontasks", "torch", "torchvision", "lightning", "timm", "albumentations", "torchmetrics")


class RecipeCLI(LightningCLI):
    """Makes task, data and trainer from a recipe and overrides.

    Args:
        args: `--config FILE` and overrides, as on the command line.
        run_name: Name under which the run is kept; None for a measurement that writes nothing.
    """

    def __init__(self, args: Sequence[str], *, run_name: str | None = None) -> None:
        self.run_name = run_name
        self.run_dir: Path | None = None
        super().__init__(
            Task,
            DataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=list(args),
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={"default_root_dir": "runs", "max_epochs": 10, "use_distributed_sampler": False},
            parser_kwargs={"exit_on_error": False},
        )
        self.datamodule: DataModule
        self.model: Task
        self.finetune: FinetuneSchedule = self.config_init["finetune"]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the finetune section, and link what the data knows to the task."""
        parser.add_lightning_class_args(FinetuneSchedule, "finetune")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what was given, whatever is in sys.argv."""
        self.config: Namespace = parser.parse_args(args)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer, writing to the run's folder unless the recipe says otherwise."""
        config = self.config_init["trainer"]
        callbacks: list[Callback] = list(config.get("callbacks") or [])
        if self.run_name is None:
            kwargs |= {"logger": False, "enable_checkpointing": False}
        else:
            self.run_dir = new_run_dir(Path(config["default_root_dir"]), self.run_name)
            callbacks += [EpochLines(), *_checkpoints(self.run_dir / "checkpoints", self.model)]
            if config.get("logger") is None:
                logs = {"save_dir": str(self.run_dir), "name": "", "version": ""}
                kwargs["logger"] = [CSVLogger(**logs), TensorBoardLogger(**logs)]
                callbacks.append(LearningRateMonitor(logging_interval="epoch"))
        self.config_init["trainer"]["callbacks"] = callbacks
        return super().instantiate_trainer(**kwargs)


def finetune(recipe: Path, overrides: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Train a recipe, measure the best epoch's weights on the test split, write the run folder.

    Args:
        recipe: A recipe's file.
        overrides: `--key value` pairs.

    Returns:
        The run folder and the content of its result.json.
    """
    start = time.monotonic()
    cli = RecipeCLI(["--config", str(recipe), *overrides], run_name=recipe_name(recipe))
    check_compatible(cli)
    _balance(cli)
    assert cli.run_dir is not None
    _write_recipe(cli)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    fit_s = time.monotonic() - start
    checkpoint = cli.run_dir / BEST
    split = "test" if "test" in cli.datamodule.split_sizes else "val"
    metrics = _measure(cli, checkpoint, split)
    result = {
        "recipe": recipe_name(recipe),
        "task": type(cli.model).__name__,
        "seed": cli.config["seed_everything"],
        "split": split,
        "metrics": metrics,
        "chosen_by": {"monitor": cli.model.monitor, "value": _best_value(cli.trainer)},
        "wall_s": round(time.monotonic() - start, 2),
        "fit_s": round(fit_s, 2),
        "phases": _phases(cli),
        "data": {"splits": cli.datamodule.split_sizes, "classes": cli.datamodule.class_names},
        "versions": {name: version(name) for name in PACKAGES} | {"python": python_version()},
        "hardware": _hardware(),
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_json(cli.run_dir / RESULT, result)
    return cli.run_dir, result


def evaluate(run: Path, overrides: Sequence[str], *, split: str = "test") -> dict[str, Any]:
    """Measure a run's best weights on a split.

    Args:
        run: A run folder.
        overrides: `--key value` pairs, for instance another `--data.root`.
        split: "test" or "val".

    Returns:
        What was measured: run, split, metrics.
    """
    checkpoint = run / BEST
    state = load_checkpoint(checkpoint)
    cli = RecipeCLI(["--config", str(run / RECIPE), "--model.weights", "none", *overrides])
    cli.datamodule.require_classes(state["class_names"])
    metrics = _measure(cli, checkpoint, split)
    return {"run": str(run), "split": split, "metrics": metrics}


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without unpickling code.

    Args:
        path: A .ckpt file.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} is not a readable checkpoint: {type(error).__name__} {error}") from error
    return state


def check_compatible(cli: RecipeCLI) -> None:
    """Refuse what would fail or be meaningless later: a wrong image size, random weights that stay frozen."""
    model = cli.config["model"]["init_args"]
    if model.get("weights") == "none" and (cli.finetune.freeze_epochs or cli.finetune.unfreeze == "never"):
        raise InputError(
            "model.init_args.weights is none, so the backbone is random, but finetune freezes it: "
            "set finetune.freeze_epochs 0 and finetune.unfreeze all, or give weights"
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a readable JSON file; only the first process does."""
    if rank_zero_only.rank == 0:
        path.write_text(json.dumps(content, indent=2) + "\n")


def _checkpoints(folder: Path, task: Task) -> list[Callback]:
    best = ModelCheckpoint(
        folder, filename="best", monitor=task.monitor, mode=task.monitor_mode, enable_version_counter=False
    )
    # save_last=True would write only when the best changes
    return [best, ModelCheckpoint(folder, filename="last", enable_version_counter=False)]


def _best_value(trainer: Trainer) -> float:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            return float(callback.best_model_score)
    return float("nan")


def _write_recipe(cli: RecipeCLI) -> None:
    if rank_zero_only.rank == 0 and cli.run_dir is not None:
        text = cli.parser.dump(cli.config, skip_none=False)
        cli.run_dir.mkdir(parents=True)
        (cli.run_dir / RECIPE).write_text(text)


def _balance(cli: RecipeCLI) -> None:
    if getattr(cli.model, "unbalanced", False):
        cli.model.balance(cli.datamodule.class_counts)


def _measure(cli: RecipeCLI, checkpoint: Path, split: str) -> dict[str, Any]:
    cli.model.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    run = cli.trainer.test if split == "test" else cli.trainer.validate
    values = run(cli.model, datamodule=cli.datamodule, verbose=False)[0]
    n = int(values.pop(f"{split}/n"))
    return {name: _with_interval(name, value, n) for name, value in sorted(values.items())}


def _with_interval(name: str, value: float, n: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": value, "n": n}
    if name.rsplit("/", 1)[-1] in ("top1", "top5", "top1_error", "top5_error"):
        low, high = wilson_interval(round(value * n), n)
        entry |= {"count": round(value * n), "interval95": [low, high]}
    return entry


def _phases(cli: RecipeCLI) -> list[dict[str, Any]]:
    seconds = next(callback.epoch_s for callback in cli.trainer.callbacks if isinstance(callback, EpochLines))
    phases = cli.finetune.phases(cli.finetune.num_stages, len(seconds))
    return [
        {
            "epochs": [phase.first_epoch + 1, phase.end_epoch],
            "trained_stages": phase.num_stages,
            "wall_s": round(sum(seconds[phase.first_epoch : phase.end_epoch]), 2),
        }
        for phase in phases
    ]


def _hardware() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"platform": platform(), "machine": machine(), "threads": torch.get_num_threads(), "gpus": gpus}
