"""Errors of the user that only a trainer or a device finds, with messages to act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from visiontasks.data import sample_name
from visiontasks.data.pipeline.shared_memory import IN_MAIN_PROCESS, LoadingProcessError, describe_lost_worker
from visiontasks.errors import DivergenceError, InputError
from visiontasks.library_internals import is_compile_error
from visiontasks.recipe.checks import is_out_of_memory
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.runs.folder import LAST
from visiontasks.training.processes import supervise_processes

# of Lightning about keys of the trainer, found during training; a fault of the program could not cause them
KNOWN_COMPLAINTS = ("`val_check_interval`", "Early stopping conditioned on metric")
DENSE_GRADIENTS = "does not support dense gradients"  # of SparseAdam, in its first step


@contextmanager
def user_errors(cli: RecipeCLI, run_dir: Path | None = None) -> Iterator[None]:
    """Turn what the user can do something about into an `InputError`.

    Args:
        cli: Has the trainer that runs.
        run_dir: Of a training, which may be resumed.
    """
    try:
        with supervise_processes(cli.trainer, lambda: how_to_go_on(run_dir) if run_dir else ""):
            yield
    except SystemExit as end:  # how Lightning ends on Ctrl-C
        if cli.trainer.interrupted:
            raise KeyboardInterrupt from end
        raise
    except DivergenceError as error:
        raise InputError(_diverged(cli, error, run_dir)) from error
    except MisconfigurationException as error:
        raise InputError(f"trainer: {error}") from error
    except (MemoryError, RuntimeError, ValueError) as error:
        message = _explain(cli, error, run_dir)
        if not message:
            raise
        raise InputError(message) from error


def how_to_go_on(run_dir: Path) -> str:
    """The command that resumes a run; empty if it has no checkpoint."""
    has_checkpoint = (run_dir / LAST).is_file()
    return f"to go on:\nvisiontasks finetune --resume {run_dir}" if has_checkpoint else ""


def _explain(cli: RecipeCLI, error: Exception, run_dir: Path | None) -> str:
    """The message for an error that the user can do something about; empty for any other."""
    message = str(error).strip()
    lost = message if isinstance(error, LoadingProcessError) else describe_lost_worker(error)
    if lost:
        hint = how_to_go_on(run_dir) if run_dir else ""
        return f"{lost}\n{hint} {IN_MAIN_PROCESS}" if hint else lost
    if is_out_of_memory(error):
        size = "x".join(map(str, cli.datamodule.image_size))
        return (
            f"out of memory with data.init_args.batch_size {cli.datamodule.batch_size} and image_size {size}: make "
            f"one of them smaller ({message.partition(chr(10))[0]})"
        )
    if cli.model.is_compiled and is_compile_error(error):
        cause = message.partition("\n")[0]
        return f"trainer.compile: torch cannot compile here, set it to false ({cause})"
    if DENSE_GRADIENTS in message:
        return f"model.init_args.optimizer: {message}"
    return f"trainer: {message}" if message.startswith(KNOWN_COMPLAINTS) else ""


def _diverged(cli: RecipeCLI, error: DivergenceError, run_dir: Path | None) -> str:
    names = [sample_name(cli.datamodule.source("train"), index) for index in error.indices]
    saved = (
        f"{run_dir / LAST} is the last good state" if run_dir and (run_dir / LAST).is_file() else "nothing was saved"
    )
    samples = [f"samples of the batch: {', '.join(names)}"] if names else []
    return "\n".join(
        [
            str(error),
            *samples,
            f"{saved}. Lower model.init_args.optimizer.init_args.lr, clip gradients (trainer.gradient_clip_val: 1.0), "
            "or look at these samples (visiontasks check-data)",
        ]
    )
