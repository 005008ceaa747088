"""Records in a run's folder and checkpoints what it is trained by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from visiontasks.backbones import save_config
from visiontasks.cores import available_cores
from visiontasks.data import DataModule
from visiontasks.data.audit.overview import WARNING, overview
from visiontasks.errors import DivergenceError
from visiontasks.runs.checkpoint import remove_unfinished, write_text
from visiontasks.runs.folder import BACKBONE, BEST, RECIPE
from visiontasks.runs.provenance import ENTRY, Provenance, versions
from visiontasks.tasks import Task
from visiontasks.terminal import print_wrapped
from visiontasks.training.machine import allocator
from visiontasks.training.trackers import log_recipe


class Record(Callback):
    """Writes recipe and backbone configuration into the run's folder, and `Provenance` into each checkpoint.

    Args:
        resolve: Gives the resolved recipe.
        datamodule: Knows the class names.
        run_dir: The run's folder.
        verbose: Print the machine too.

    Attributes:
        warnings: Of the data, as they were printed.
    """

    def __init__(
        self, resolve: Callable[[], str], datamodule: DataModule, run_dir: Path, *, verbose: bool = False
    ) -> None:
        self.resolve = resolve
        self.recipe = ""
        self.datamodule = datamodule
        self.run_dir = run_dir
        self.verbose = verbose
        self.warnings: list[str] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the recipe, now that the data was found good: a training that cannot start leaves no folder."""
        self.recipe = self.resolve()  # the data may have made its batches smaller
        if trainer.is_global_zero:
            compiled = ", compiled" if cast(Task, pl_module).is_compiled else ""
            machine = [f"machine: {describe_machine(trainer)}{compiled}"] if self.verbose else []
            lines = overview(self.datamodule)
            print_wrapped([*machine, *lines])
            self.warnings = [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]
            self.run_dir.mkdir(parents=True, exist_ok=True)
            for folder in (self.run_dir, (self.run_dir / BEST).parent):
                remove_unfinished(folder)
            write_text(self.run_dir / RECIPE, self.recipe)
            save_config(cast(Task, pl_module).backbone, self.run_dir / BACKBONE)
            log_recipe(trainer.loggers, self.recipe)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the provenance; refuse weights that are not finite, so that a good checkpoint stays."""
        tensors = checkpoint["state_dict"]
        broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise DivergenceError(
                f"{len(broken)} weights are infinite or no number after step {trainer.global_step} of epoch "
                f"{trainer.current_epoch + 1}: {', '.join(broken[:3])}"
            )
        task = cast(Task, pl_module)
        provenance = Provenance(
            recipe=self.recipe,
            class_names=tuple(self.datamodule.class_names),
            image_size=self.datamodule.image_size,
            resize=self.datamodule.resize,
            mean=tuple((task.mean / 255).flatten().tolist()),
            std=tuple((task.std / 255).flatten().tolist()),
            versions=versions(),
            processes=trainer.world_size,
            threads=torch.get_num_threads(),
        )
        checkpoint[ENTRY] = provenance.to_dict()


def describe_machine(trainer: Trainer) -> str:
    """Hardware, processes and precision of a training, for its plan."""
    device = trainer.strategy.root_device
    cores, threads = available_cores(), torch.get_num_threads()
    used = f"{cores} cores" if threads == cores else f"{threads} of {cores} cores"
    place = [used, allocator()] if device.type == "cpu" else [_accelerator(device)]
    processes = [f"{trainer.world_size} processes"] if trainer.world_size > 1 else []
    return ", ".join([*place, *processes, f"precision {trainer.precision}", "channels_last"])


def _accelerator(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
