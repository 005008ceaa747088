"""`study labels`: which labels are probably wrong, and about how many."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, open_subject
from visiontasks.commands.tables import table
from visiontasks.data import DataModule
from visiontasks.study.labels import LabelStudy, study_labels
from visiontasks.study.pictures import pictures

CORRECTIONS = "corrections.csv"
MOST_SHOWN = 20


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Judge each label by heads that have not seen its image."""
    subject = open_subject(arguments, overrides)
    study = study_labels(subject.features(), folds=arguments.folds, seed=arguments.seed)
    content = {"backbone": subject.backbone, **_with_short_names(study, subject.data)}
    content |= {
        "class_names": list(subject.data.class_names),
        "pictures": pictures(subject.data, [(each.split, each.row) for each in study.suspects]),
    }
    return Answer(subject.folder, _lines(study, [each["name"] for each in content["suspects"]]), content)


def _lines(study: LabelStudy, names: Sequence[str]) -> list[str]:
    lines = [f"{study.agreeing:,} of {study.n:,} labels are as predicted by heads that have not seen the image"]
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


def _with_short_names(study: LabelStudy, data: DataModule) -> dict[str, Any]:
    """The study's content with files below the data's root named from there."""
    content = study.content()
    root = getattr(data, "root", None)
    for each in content["suspects"]:
        path = Path(each["name"])
        if root is not None and path.is_relative_to(root):
            each["name"] = path.relative_to(root).as_posix()
    return content
