"""`study how-much-data`: what more images would bring."""

import argparse
from collections.abc import Sequence

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, open_subject
from visiontasks.commands.tables import table
from visiontasks.study.how_much_data import AmountStudy, study_amount


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Continue the learning curve of cross-fitted heads."""
    subject = open_subject(arguments, overrides)
    study = study_amount(subject.features(), folds=arguments.folds, seed=arguments.seed)
    return Answer(subject.folder, _lines(study), {"backbone": subject.backbone, **study.content()})


def _lines(study: AmountStudy) -> list[str]:
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
