"""`study search`: recipe keys by Optuna, on validation alone; several processes may share one search."""

import argparse
import math
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from visiontasks.commands.finetune import finetune
from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, check_settings, data_name, sample_files
from visiontasks.commands.tables import table
from visiontasks.errors import InputError, Stopped, printable
from visiontasks.finetuning.feature_folders import locked, try_lock
from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import RecipeCLI, recipe_config, recipe_data
from visiontasks.runs.checkpoint import write_text
from visiontasks.runs.folder import BEST, RECIPE
from visiontasks.study.search import (
    FAILED,
    FINISHED,
    STOPPED_EARLY,
    Trial,
    Varied,
    best_trial,
    parse_varied,
    recipe_text,
)

if TYPE_CHECKING:
    import optuna

DATABASE, BEST_RECIPE = "trials.db", "best.yaml"
LR, DECAY = (f"model.init_args.optimizer.init_args.{name}" for name in ("lr", "weight_decay"))
SHOWN = 10
"""Trials on the terminal, the best ones."""
STARTUP = 5
"""Trials before one is stopped early."""


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Train trials until there are as many as asked for, and write the best recipe."""
    if sys.platform == "win32":
        raise InputError("study search needs file locks, which Windows does not have")
    if find_spec("optuna") is None:
        raise InputError("study search needs Optuna: pip install 'visiontasks[search]'")
    recipe = find_recipe(arguments.recipe)
    space = _space(recipe, overrides, arguments.vary)
    data = recipe_data(recipe, overrides)
    data.prepare_data()
    data.setup()
    if "val" not in data.split_sizes:
        raise InputError("study search chooses on validation images, but this data has none")
    out = arguments.out or Path("studies") / data_name(data)
    folder = out / "search"
    parts = [sample_files(data, split) for split in data.split_sizes]
    check_settings(folder, recipe, [*overrides, *map(str, space)], parts)
    search = Search(folder, recipe, overrides, space, arguments.trials, data.split_sizes["val"])
    search.run()
    return Answer(out, *search.summary())


def _space(recipe: Path, overrides: Sequence[str], given: Sequence[str]) -> list[Varied]:
    """What is varied; by default learning rate and weight decay around the recipe's own."""
    config = recipe_config(recipe, overrides)
    space = [parse_varied(text) for text in given]
    if not space:
        lr, decay = config.get(LR), config.get(DECAY)
        space += [Varied(LR, lr / 10, lr * 10)] if lr else []
        space += [Varied(DECAY, 1e-6, 1e-1)] if decay is not None else []
    if not space:
        raise InputError("the recipe's optimizer has no learning rate: name what is varied, --vary KEY=LOW..HIGH")
    keys = [each.key.replace(".init_args", "") for each in space]
    if len(set(keys)) < len(keys):
        raise InputError(f"--vary names a key twice: {', '.join(keys)}")
    for varied in space:  # a key or value that the recipe does not take is refused before a search is begun
        ends = varied.choices or ((int(varied.low), int(varied.high)) if varied.is_whole else (varied.low, varied.high))
        for value in ends:
            recipe_config(recipe, [*overrides, f"--{varied.key}", _written(value)])
    return space


class Search:
    """Trials in an SQLite database, which outlives the processes that train them.

    A trial is taken, and its values are drawn, under a lock; while it is trained its process holds a lock of its own.
    So a trial whose process was killed is known, and its values are trained again.

    Args:
        folder: Of the search.
        recipe: The recipe's file.
        overrides: `--key value` pairs.
        space: What is varied.
        trials: How many there will be.
        images: Of the validation split.
    """

    def __init__(
        self, folder: Path, recipe: Path, overrides: Sequence[str], space: Sequence[Varied], trials: int, images: int
    ) -> None:
        import optuna

        from visiontasks.commands.studies.sampling import SeededByTrial

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.folder, self.recipe, self.overrides, self.space = folder, recipe, overrides, space
        self.trials, self.images = trials, images
        with locked(folder):  # another process may make the same tables
            self.study = optuna.create_study(
                study_name="search",
                storage=optuna.storages.RDBStorage(
                    f"sqlite:///{(folder / DATABASE).resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
                ),
                load_if_exists=True,
                direction="maximize",  # of a metric that is better the lower it is the negative
                sampler=SeededByTrial(),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
            )

    def run(self) -> None:
        """Train until there are enough trials, those of other processes included."""
        while (taken := self._take()) is not None:
            trial, lock = taken
            with lock:
                self._train(trial)

    def summary(self) -> tuple[list[str], dict[str, Any]]:
        """Lines for the terminal, and what JSON has.

        Raises:
            InputError: If no trial finished.
        """
        from optuna.trial import TrialState

        states = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: STOPPED_EARLY, TrialState.FAIL: FAILED}
        every = self.study.get_trials(deepcopy=False)
        found = [
            Trial(
                each.number + 1,
                dict(each.params),
                each.user_attrs.get("value"),
                states[each.state],
                each.user_attrs.get("error", ""),
            )
            for each in every
            if each.state in states and (each.state != TrialState.FAIL or "error" in each.user_attrs)
        ]
        running = sum(each.state == TrialState.RUNNING for each in every)
        known = next((each.user_attrs for each in every if "monitor" in each.user_attrs), {})
        monitor, lower = str(known.get("monitor", "")), known.get("mode") == "min"
        best = best_trial(found, lower_is_better=lower)
        if best is None:
            raise InputError(f"no trial finished in {self.folder}/" + (f"; {running} are running" if running else ""))
        text = (self.folder / f"trial{best.number}" / RECIPE).read_text(encoding="utf-8")
        day = date.today().isoformat()
        write_text(self.folder / BEST_RECIPE, recipe_text(text, best, len(found), monitor, self.images, day))
        lines = self._lines(found, best, monitor, running, lower=lower)
        content = {
            "monitor": monitor,
            "lower_is_better": lower,
            "images": self.images,
            "varied": [{"key": each.key, "name": each.name, "is_log": each.is_log} for each in self.space],
            "trials": [vars(each) for each in found],
            "best": best.number,
            "recipe": str(self.folder / BEST_RECIPE),
        }
        return lines, content

    def _take(self) -> "tuple[optuna.Trial, IO[str]] | None":
        """The next trial with its values, and the lock held while it trains; None if there are enough."""
        from optuna.trial import TrialState

        with locked(self.folder):
            taken = 0
            for each in self.study.get_trials(deepcopy=False):
                if each.state == TrialState.RUNNING and self._is_dead(each.number):
                    self.study.tell(each.number, state=TrialState.FAIL)
                    self.study.enqueue_trial(each.params)
                elif each.state != TrialState.WAITING:
                    taken += each.state != TrialState.FAIL or "error" in each.user_attrs
            if taken >= self.trials:
                return None
            trial = self.study.ask()
            for varied in self.space:
                _suggest(trial, varied)
            lock = self._lock_file(trial.number).open("w")
            try_lock(lock)
            return trial, lock

    def _lock_file(self, number: int) -> Path:
        return self.folder / f"trial{number + 1}.lock"

    def _is_dead(self, number: int) -> bool:
        """Whether a trial is marked as running, but no process trains it."""
        with self._lock_file(number).open("a") as lock:
            return try_lock(lock)

    def _train(self, trial: "optuna.Trial") -> None:
        """Train a trial, or take the value of one that had the same values."""
        import optuna

        same = self._known(trial)
        if same is not None:
            self._tell(trial, same.user_attrs["value"], same.user_attrs, same.number)
            return
        run = self.folder / f"trial{trial.number + 1}"
        shutil.rmtree(run, ignore_errors=True)
        words = [word for key, value in trial.params.items() for word in (f"--{key}", _written(value))]
        pruning = Pruning(trial)
        try:
            with (self.folder / f"{run.name}.txt").open("w", encoding="utf-8") as log, redirect_stdout(log):
                _, result = finetune(
                    self.recipe, [*self.overrides, *words], folder=run, prepare=pruning.attach, measures=False
                )
            value = result["chosen_by"]["value"]
            if value is None or not math.isfinite(value):
                raise InputError(f"{result['chosen_by']['monitor']} is {value}")
        except InputError as error:
            works = any(
                each.state == optuna.trial.TrialState.COMPLETE for each in self.study.get_trials(deepcopy=False)
            )
            if works:  # else the error is hardly that of these values
                trial.set_user_attr("error", str(error))
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            if not works:
                raise
            print(printable(f"trial {trial.number + 1} of {self.trials}: failed: {error}"), flush=True)
            return
        except Stopped as stopped:
            stopped.message = f"stopped in trial {trial.number + 1}; the same command goes on, with its values"
            raise
        finally:
            shutil.rmtree((run / BEST).parent, ignore_errors=True)
        known = {"monitor": result["chosen_by"]["monitor"], "mode": pruning.mode, "is_pruned": pruning.is_pruned}
        self._tell(trial, value, known, trial.number)

    def _known(self, trial: "optuna.Trial") -> "optuna.trial.FrozenTrial | None":
        from optuna.trial import TrialState

        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return next((each for each in finished if each.params == trial.params), None)

    def _tell(self, trial: "optuna.Trial", value: float, known: dict[str, Any], source: int) -> None:
        from optuna.trial import TrialState

        for name in ("monitor", "mode"):
            trial.set_user_attr(name, known[name])
        trial.set_user_attr("value", value)
        if known.get("is_pruned"):
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            if source != trial.number:
                shutil.copytree(self.folder / f"trial{source + 1}", self.folder / f"trial{trial.number + 1}")
            self.study.tell(trial, -value if known["mode"] == "min" else value)
        values = ", ".join(f"{key.rpartition('.')[2]} {_written(each)}" for key, each in trial.params.items())
        early = ", stopped early" if known.get("is_pruned") else ""
        print(
            f"trial {trial.number + 1} of {self.trials}: {known['monitor']} {value:.4f}{early} ({values})", flush=True
        )

    def _lines(self, found: Sequence[Trial], best: Trial, monitor: str, running: int, *, lower: bool) -> list[str]:
        known = [each for each in found if each.value is not None]
        ranked = sorted(known, key=lambda each: (each.value or 0) * (1 if lower else -1))
        rows = [
            {
                "trial": str(each.number),
                monitor: f"{each.value:.4f}",
                **{varied.name: _written(each.values.get(varied.key)) for varied in self.space},
                "": "" if each.state == FINISHED else each.state,
            }
            for each in ranked[:SHOWN]
        ]
        columns = ("trial", monitor, *(each.name for each in self.space), "")
        early, failed = (sum(each.state == state for each in found) for state in (STOPPED_EARLY, FAILED))
        going_on = f", {running} running" if running else ""
        return [
            *table(rows, (columns,), terminal_width(), right=columns[:-1]),
            "",
            f"{len(found)} trials, {early} stopped early, {failed} failed{going_on}; n = {self.images:,} validation "
            "images; test images were not looked at",
            f"the best of them is better by chance too: train and test trial {best.number} by visiontasks finetune "
            f"{self.folder / BEST_RECIPE}",
        ]


class Pruning(Callback):
    """Stops a training that is worse than the median of earlier ones after as many epochs.

    Args:
        trial: Gets the monitored metric of each epoch.
    """

    def __init__(self, trial: "optuna.Trial") -> None:
        self.trial = trial
        self.monitor, self.mode = "", "max"
        self.is_pruned = False

    def attach(self, cli: RecipeCLI) -> None:
        """Watch a training that is about to begin."""
        if cli.trainer.world_size > 1:
            raise InputError(
                f"trainer.devices: {cli.trainer.world_size} processes, but a trial trains in one: set it to 1"
            )
        self.monitor, self.mode = cli.model.monitor, cli.model.monitor_mode
        cli.trainer.callbacks.append(self)  # type: ignore[attr-defined]  # set outside of its class

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and ask whether to stop."""
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None or not math.isfinite(float(value)):
            return
        self.trial.report(-float(value) if self.mode == "min" else float(value), trainer.current_epoch)
        if self.trial.should_prune():
            self.is_pruned = trainer.should_stop = True


def _suggest(trial: "optuna.Trial", varied: Varied) -> None:
    if varied.choices:
        trial.suggest_categorical(varied.key, varied.choices)
    elif varied.is_whole:
        trial.suggest_int(varied.key, int(varied.low), int(varied.high), log=varied.is_log)
    else:
        trial.suggest_float(varied.key, varied.low, varied.high, log=varied.is_log)


def _written(value: Any) -> str:
    """A value as a recipe has it: of a number four digits, and never 1e-05, which YAML reads as text."""
    if not isinstance(value, float):
        return str(value)
    mantissa, exponent, power = f"{value:.4g}".partition("e")
    return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}e{power}" if exponent else mantissa
