"""`study folds`: trainings on folds of the images, or with several seeds, that go on where they were interrupted."""

import argparse
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from visiontasks.commands.finetune import finetune
from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, check_settings, data_name, sample_files
from visiontasks.commands.tables import table
from visiontasks.csv_tables import CSVWriter, read_csv
from visiontasks.errors import InputError, Stopped, printable
from visiontasks.recipe import find_recipe, read_recipe
from visiontasks.recipe.cli import RecipeCLI, recipe_data
from visiontasks.recipe.files import last_given
from visiontasks.regular_files import read_json
from visiontasks.results.samples import table_name
from visiontasks.runs.checkpoint import write_text
from visiontasks.runs.folder import RECIPE, is_finished, read_result
from visiontasks.study.folds import Estimate, estimates, header_line

OUT_OF_FOLD = "out_of_fold.csv"
FOLDS = 5
ROWS = ("metric", "mean", "interval", "sd", "n")


@dataclass(frozen=True)
class Training:
    """One of the trainings of a study.

    Args:
        title: What it is called on the terminal.
        folder: Of its run.
        words: Overrides of its own.
        fold: Its number, from 1; 0 for a seed.
        repeat: Which division into folds, from 1.
    """

    title: str
    folder: Path
    words: Sequence[str]
    fold: int = 0
    repeat: int = 1


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Train what is not trained yet, and summarize all of it."""
    recipe = find_recipe(arguments.recipe)
    _check_options(arguments, overrides)
    out = arguments.out or Path("studies") / data_name(recipe_data(recipe, overrides))
    content = read_json(out / "folds.json") if (out / "folds.json").is_file() else {}
    if arguments.seeds:
        lines, content["seeds"] = _seeds(recipe, overrides, out / "seeds", arguments.seeds)
    else:
        lines, content["folds"] = _folds(recipe, overrides, out / "folds", arguments.folds or FOLDS, arguments.repeats)
    return Answer(out, lines, content)


def _check_options(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    if arguments.seeds == 1:
        raise InputError("--seeds 1: expected 2 or more, whose results have a spread")
    if arguments.seeds and (arguments.folds or arguments.repeats > 1):
        raise InputError("--seeds trains on the recipe's own splits, --folds on others: give one of them")
    for key in ("--data.fold", "--data.init_args.fold"):
        if last_given(overrides, key) is not None:
            raise InputError(f"{key}: study folds trains on each fold in turn; leave it out")


def _folds(
    recipe: Path, overrides: Sequence[str], folder: Path, folds: int, repeats: int
) -> tuple[list[str], dict[str, Any]]:
    trainings = [
        Training(
            f"fold {fold} of {folds}{f', repeat {repeat}' if repeats > 1 else ''}",
            folder / f"fold{fold}of{folds}{f'_repeat{repeat}' if repeat > 1 else ''}",
            ["--data.init_args.fold", f"{fold}/{folds}", *(_repeated(recipe, overrides, repeat) if repeat > 1 else [])],
            fold,
            repeat,
        )
        for repeat in range(1, repeats + 1)
        for fold in range(1, folds + 1)
    ]
    held: list[list[str]] = []
    for training in trainings:  # all of them first, so that nothing is refused after hours
        data = recipe_data(recipe, [*overrides, *training.words])
        data.prepare_data()
        data.setup()
        held.append(sample_files(data))
    check_settings(folder, recipe, overrides, held[:folds])
    results = list(_trained(recipe, overrides, trainings))
    found = estimates(results, 1 / (folds - 1))
    names = _write_table(folder / OUT_OF_FOLD, trainings, held)
    first = found[0]
    runs = " ".join(shlex.quote(str(training.folder)) for training in trainings)
    if repeats == 1:
        runs = f"{shlex.quote(str(folder))}/fold*of{folds}/"
    trained = f"{len(trainings)} trainings: {folds} folds" + (f", divided {repeats} times" if repeats > 1 else "")
    lines = [
        *_table(found),
        "",
        f"{trained}; each of {names:,} images is tested on once in a division, by a network that has not seen it",
        f"interval: 95 % for the mean over other images, by Nadeau and Bengio (2003), of {len(first.values)} results",
        f"predictions of all images: {folder / OUT_OF_FOLD}",
        f"all networks as one: visiontasks predict {runs} IMAGES",
    ]
    content = {
        "folds": folds,
        "repeats": repeats,
        "images": names,
        "runs": [str(training.folder) for training in trainings],
        "metrics": [each.content() for each in found],
    }
    return lines, content


def _repeated(recipe: Path, overrides: Sequence[str], repeat: int) -> list[str]:
    """The division of a later repeat, by another split seed."""
    keys = ("--data.split_seed", "--data.init_args.split_seed")
    options = read_recipe(recipe).get("data", {}).get("init_args") or {}
    first = last_given(overrides, *keys) or options.get("split_seed") or 0
    return [keys[1], str(int(first) + repeat - 1)]


def _seeds(recipe: Path, overrides: Sequence[str], folder: Path, number: int) -> tuple[list[str], dict[str, Any]]:
    key = "--seed_everything"
    first = int(last_given(overrides, key) or read_recipe(recipe).get("seed_everything") or 0)
    seeds = [first + i for i in range(number)]
    trainings = [Training(f"seed {seed}", folder / f"seed{seed}", [key, str(seed)]) for seed in seeds]
    data = recipe_data(recipe, overrides)
    data.prepare_data()
    data.setup()
    check_settings(folder, recipe, overrides, [sample_files(data, split) for split in data.split_sizes])
    results = list(_trained(recipe, overrides, trainings))
    found = estimates(results, None)
    where = _where(results[-1])
    headers = [header_line(each, seeds, where) for each in found]
    lines = [*_table(found), "", "for the head comment of the recipe:", headers[0]]
    content = {
        "seeds": seeds,
        "runs": [str(training.folder) for training in trainings],
        "header": headers[0],
        "metrics": [each.content() for each in found],
    }
    return lines, content


def _trained(recipe: Path, overrides: Sequence[str], trainings: Sequence[Training]) -> Iterator[dict[str, Any]]:
    """The result of each training; those that are finished are not trained again, an interrupted one goes on."""
    for training in trainings:
        folder = training.folder
        if is_finished(folder):
            result = read_result(folder, needed=("metrics",))
        else:
            begun = (folder / RECIPE).is_file()
            if not begun:  # what a training left that ended before it began
                shutil.rmtree(folder, ignore_errors=True)
            print(f"\n{training.title}: {printable(str(folder))}", flush=True)
            try:
                place: dict[str, Any] = {"resume": str(folder)} if begun else {"folder": folder}
                words = [*overrides, *training.words]
                _, result = finetune(recipe, words, prepare=_check_processes, **place)
            except Stopped as stopped:
                stopped.message = f"stopped in {training.title}; the same command goes on from there"
                raise
        name, entry = next(iter(result["metrics"].items()))
        print(f"{training.title}: {name} {entry['value']:.4f} (n = {entry['n']:,})", flush=True)
        yield result


def _check_processes(cli: RecipeCLI) -> None:
    if cli.trainer.world_size > 1:
        raise InputError(
            f"trainer.devices: {cli.trainer.world_size} processes, but a study trains in one: set it to 1, or train "
            "each fold by finetune (--data.fold 1/5)"
        )


def _write_table(path: Path, trainings: Sequence[Training], held: Sequence[Sequence[str]]) -> int:
    """All tables of predictions in one, with whole names; the number of images."""
    text = StringIO()
    writer = CSVWriter(text)
    for at, (training, names) in enumerate(zip(trainings, held, strict=True)):
        file = training.folder / table_name("test")
        with file.open(newline="", encoding="utf-8") as lines:
            header, *rows = read_csv(lines)
        if len(rows) < len(names):
            raise InputError(
                f"{file} has {len(rows)} of the {len(names)} images of the fold: leave out trainer.limit_test_batches "
                f"and --quick, remove {training.folder}/, and train it again"
            )
        if [row[0] for row in rows] != [Path(name).name for name in names]:
            raise InputError(
                f"{file} has other images than the fold now: remove {training.folder}/, and train it again"
            )
        if at == 0:
            writer.write(["file", "fold", "repeat", *header[1:]])
        for name, row in zip(names, rows, strict=True):
            writer.write([name, training.fold, training.repeat, *row[1:]])
    write_text(path, text.getvalue())
    return len({name for names in held for name in names})


def _table(found: Sequence[Estimate]) -> list[str]:
    rows = [
        {
            "metric": each.name,
            "mean": f"{each.mean:.4f}",
            "interval": "" if each.low is None else f"{each.low:.4f}-{each.high:.4f}",
            "sd": f"{each.deviation:.4f}",
            "n": f"{len(each.values)} trainings, {each.n:,}",
        }
        for each in found
    ]
    columns = ROWS if found[0].low is not None else tuple(name for name in ROWS if name != "interval")
    return table(rows, (columns,), terminal_width(), right=columns[1:])


def _where(result: dict[str, Any]) -> str:
    hardware = result.get("hardware") or {}
    gpus = ", ".join(hardware.get("gpus") or [])
    place = gpus or f"{hardware.get('machine', '')}, {hardware.get('threads', '')} threads"
    version, day = (result.get("versions") or {}).get("visiontasks", ""), str(result.get("finished", ""))[:10]
    return f"{place}, visiontasks {version}, {day}"
