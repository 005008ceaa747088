"""`study probe`: which backbone suits the images."""

import argparse
import re
from collections.abc import Sequence

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, Subject, open_subject, progress
from visiontasks.commands.tables import table
from visiontasks.study.probe import ProbeStudy, study_backbones

COLUMNS = ("backbone", "right", "interval", "p", "ms", "params", "license")
LAYOUTS = (COLUMNS, COLUMNS[:-1], COLUMNS[:-2])


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Rank backbones by cross-fitted heads."""
    subject = open_subject(arguments, overrides)
    study = _probe(subject, arguments)
    return Answer(subject.folder, _lines(study), study.content())


def _probe(subject: Subject, arguments: argparse.Namespace) -> ProbeStudy:
    names = [name for given in arguments.backbones for name in re.split(r"[,\s]+", given) if name]
    with progress() as bar:
        task = bar.add_task("features", total=None)
        return study_backbones(
            subject.data,
            names,
            folds=arguments.folds,
            seed=arguments.seed,
            on_backbone=lambda name, done, total: bar.update(task, description=name, completed=done, total=total),
        )


def _lines(study: ProbeStudy) -> list[str]:
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
    lines = table(rows, LAYOUTS, terminal_width(), right=COLUMNS[1:6])
    lines += [
        "",
        f"n = {n:,} training and validation images, each judged by a linear head that has not seen it; p: of ",
    ]
    lines[-1] += "McNemar's test against the best; ms: of the network for one image"
    if study.missing:
        lines.append(f"not tried, for their weights cannot be had: {', '.join(study.missing)}")
    return lines
