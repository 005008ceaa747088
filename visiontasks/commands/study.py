"""The command `study`: answers about a dataset from the features of a frozen backbone."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from visiontasks.backbones import create_vector
from visiontasks.commands.printing import terminal_width
from visiontasks.commands.tables import table
from visiontasks.data import DataModule
from visiontasks.errors import InputError, printable
from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import recipe_parts
from visiontasks.study.amount import AmountStudy, study_amount
from visiontasks.study.correcting import CORRECTIONS, pictures
from visiontasks.study.features import Features, image_features
from visiontasks.study.labels import LabelStudy, study_labels
from visiontasks.study.page import save_study
from visiontasks.study.probe import ProbeStudy, study_backbones

Answer = tuple[list[str], dict[str, Any]]
"""Lines for the terminal, and what JSON and page have."""
MOST_SHOWN = 20
PROBED = ("backbone", "right", "interval", "p", "ms", "params", "license")
LAYOUTS = (PROBED, PROBED[:-1], PROBED[:-2])


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Answer a question, print the answer, and write it to the folder of studies."""
    data, backbone, weights = recipe_parts(find_recipe(arguments.recipe), overrides)
    data.prepare_data()
    data.setup()
    for note in data.notes:
        print(printable(f"note: {note}"), flush=True)
    folder: Path = arguments.out or Path("studies") / _name(data)
    if arguments.backbones and arguments.question != "probe":
        raise InputError(f"--backbones is for study probe; study {arguments.question} takes one: --backbone")
    if arguments.question == "probe":
        lines, content = _answer_probe(data, arguments)
    else:
        answer = {"labels": _answer_labels, "how-much-data": _answer_amount}[arguments.question]
        lines, content = answer(_features(data, backbone, weights), data, arguments)
        content = {"backbone": backbone, **content}
    page = save_study(folder, arguments.question, {"folds": arguments.folds, "seed": arguments.seed, **content})
    print("\n".join([*map(printable, lines), ""]))
    print(printable(f"page: {page.resolve().as_uri()}"))


def _answer_probe(data: DataModule, arguments: argparse.Namespace) -> Answer:
    study = _probe(data, arguments)
    return _probe_lines(study), study.content()


def _answer_labels(features: Features, data: DataModule, arguments: argparse.Namespace) -> Answer:
    study = study_labels(features, folds=arguments.folds, seed=arguments.seed)
    content = _with_short_names(study, data)
    content |= {"class_names": list(data.class_names), "pictures": pictures(data, study.suspects)}
    return _label_lines(study, [each["name"] for each in content["suspects"]]), content


def _answer_amount(features: Features, _: DataModule, arguments: argparse.Namespace) -> Answer:
    study = study_amount(features, folds=arguments.folds, seed=arguments.seed)
    return _amount_lines(study), study.content()


def _features(data: DataModule, backbone: str, weights: str) -> Features:
    network = create_vector(backbone, weights=weights, image_size=data.image_size)
    with _progress() as progress:
        task = progress.add_task("features", total=None)
        return image_features(
            data, network, on_images=lambda done, total: progress.update(task, completed=done, total=total)
        )


def _probe(data: DataModule, arguments: argparse.Namespace) -> ProbeStudy:
    names = [name for given in arguments.backbones for name in re.split(r"[,\s]+", given) if name]
    with _progress() as progress:
        task = progress.add_task("features", total=None)
        return study_backbones(
            data,
            names,
            folds=arguments.folds,
            seed=arguments.seed,
            on_backbone=lambda name, done, total: progress.update(task, description=name, completed=done, total=total),
        )


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def _probe_lines(study: ProbeStudy) -> list[str]:
    rows = [
        {
            "backbone": each.name,
            "right": f"{each.accuracy:.4f}",
            "interval": f"{each.low:.4f}-{each.high:.4f}",
            "p": "" if i == 0 else f"{each.p:.2g}",
            "ms": f"{each.image_ms:.1f}",
            "params": f"{each.parameters / 1e6:.1f}M",
            "license": each.license,
        }
        for i, each in enumerate(study.probed)
    ]
    n = study.probed[0].n
    lines = table(rows, LAYOUTS, terminal_width(), right=PROBED[1:6])
    lines += [
        "",
        f"n = {n:,} training and validation images, each judged by a linear head that has not seen it; p: of ",
    ]
    lines[-1] += "McNemar's test against the best; ms: of the network for one image"
    if study.missing:
        lines.append(f"not tried, for their weights cannot be had: {', '.join(study.missing)}")
    return lines


def _label_lines(study: LabelStudy, names: Sequence[str]) -> list[str]:
    lines = [f"{study.agreeing:,} of {study.n:,} labels are as predicted by heads that have not seen the image"]
    if study.wrong is not None:
        wrong = study.wrong
        lines.append(f"about {wrong.count} of {study.n:,} labels are wrong ({wrong.low} to {wrong.high})")
    shown = zip(study.suspects[:MOST_SHOWN], names, strict=False)
    rows = [
        {
            "image": name,
            "label": each.label,
            "probability": f"{each.p_label:.3f}",
            "predicted": each.predicted,
            "its": f"{each.p_predicted:.3f}",
        }
        for each, name in shown
    ]
    if rows:
        header = ("image", "label", "probability", "predicted", "its")
        lines += ["", *table(rows, (header,), terminal_width(), right=("probability", "its"))]
    if len(study.suspects) > MOST_SHOWN:
        lines.append(f"and {len(study.suspects) - MOST_SHOWN:,} more")
    lines.append("")
    lines.append(
        f"look at them on the page, which saves {CORRECTIONS}; then: visiontasks finetune ... --data.corrections "
        f"{CORRECTIONS}"
    )
    return lines


def _amount_lines(study: AmountStudy) -> list[str]:
    rows = [{"images": f"{each.images:,.0f}", "accuracy": f"{each.accuracy:.4f}"} for each in study.points]
    lines = [*table(rows, (("images", "accuracy"),), terminal_width(), right=("images", "accuracy")), ""]
    now = study.points[-1]
    for each in study.forecasts:
        lines.append(
            f"{each.images / now.images:.0f} times the images: {now.accuracy:.3f} -> {each.accuracy:.3f} "
            f"({each.low:.3f} to {each.high:.3f})"
        )
    gain, name = max(zip(study.forecasts[0].gains, study.class_names, strict=True))
    if gain > 0:
        lines[-len(study.forecasts)] += f"; most is gained by {name}"
    lines.append(f"n = {study.n:,} images, each judged by heads that have not seen it")
    return lines


def _with_short_names(study: LabelStudy, data: DataModule) -> dict[str, Any]:
    """The study's content with files below the data's root named from there."""
    content = study.content()
    root = getattr(data, "root", None)
    for each in content["suspects"]:
        path = Path(each["name"])
        if root is not None and path.is_relative_to(root):
            each["name"] = path.relative_to(root).as_posix()
    return content


def _name(data: DataModule) -> str:
    root = getattr(data, "root", None)
    return type(data).__name__ if root is None else Path(root).resolve().name
