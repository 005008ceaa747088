"""A training inside of a Python process or notebook that goes on afterwards."""

import argparse
import signal
import sys
from collections.abc import Sequence

from visiontasks.commands.early import announce
from visiontasks.commands.finetune import train
from visiontasks.commands.inside import inside_python
from visiontasks.commands.main import EXIT_SIGNAL
from visiontasks.errors import InputError, Stopped
from visiontasks.notebook import LiveCurves, in_notebook
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.run import Run
from visiontasks.training.progress import History


def train_here(arguments: argparse.Namespace, overrides: Sequence[str]) -> Run:
    """Train as the command does, and leave the process as it was, see `inside_python`.

    Args:
        arguments: Of the command `finetune`.
        overrides: Recipe keys with their values.

    Raises:
        InputError: If the recipe cannot be trained.
        KeyboardInterrupt: If SIGINT ended it, with how to go on; another signal is delivered again.
    """
    stopped: Stopped | None = None
    try:
        with inside_python():
            announce(arguments, overrides)
            return Run(train(arguments, overrides, prepare=_prepare))
    except Stopped as error:
        stopped = error
    message = f"{stopped.message}\n{_way_on(stopped)}".strip()
    if stopped.signum == signal.SIGINT:
        raise KeyboardInterrupt(message)
    print(message, file=sys.stderr, flush=True)
    signal.raise_signal(stopped.signum)  # now that all is saved it does what it does in this process
    raise SystemExit(EXIT_SIGNAL + stopped.signum)


def _way_on(stopped: Stopped) -> str:
    return f'in Python: visiontasks.finetune(resume="{stopped.folder}")' if stopped.folder else ""


def _prepare(cli: RecipeCLI) -> None:
    """Show curves in a notebook, and refuse several processes where this one cannot be started again."""
    if cli.trainer.world_size > 1 and not _is_script():
        raise InputError(
            f"{cli.trainer.world_size} processes start from a script, not from a notebook or an interactive Python: "
            'device="cuda:0" trains on one GPU; or train in a terminal, and open the run here: '
            f"visiontasks.open_run({str(cli.run_dir)!r})"
        )
    if in_notebook():
        history = next(callback for callback in cli.trainer.callbacks if isinstance(callback, History))  # type: ignore[attr-defined]  # set outside of its class
        cli.trainer.callbacks.append(LiveCurves(history))  # type: ignore[attr-defined]


def _is_script() -> bool:
    """Whether the process runs a file or a module, which its children can run too."""
    main = sys.modules["__main__"]
    return not in_notebook() and (getattr(main, "__file__", None) or getattr(main, "__spec__", None)) is not None
