"""`study groups`: what a random split claims where images belong together."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, Subject, open_subject
from visiontasks.commands.tables import table
from visiontasks.data.audit.groups import Candidate, candidates
from visiontasks.data.pipeline.groups import group_names, numbered
from visiontasks.errors import InputError
from visiontasks.study.features import Features
from visiontasks.study.groups import KEY, GroupStudy, study_groups

COLUMNS = ("groups", "number", "images", "random split", "whole groups", "claimed too much")


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Compare folds of single images with folds of whole groups, for each way to group that is named or possible."""
    subject = open_subject(arguments, overrides)
    if not isinstance(getattr(subject.data, "root", None), Path):
        raise InputError(f"{KEY}: {type(subject.data).__name__} has no files by which images belong together")
    features = subject.features()
    studies = [
        study_groups(features, each.numbers, each.groups, folds=arguments.folds, seed=arguments.seed)
        for each in _ways(subject, features, arguments.folds)
    ]
    if not studies:
        raise InputError(
            f"{KEY}: folders, file names, times and near duplicates make no groups that could be divided into "
            f"{arguments.folds} folds: name the groups, as in --data.groups people.csv:patient"
        )
    return Answer(subject.folder, _lines(studies), {"studies": [each.content() for each in studies]})


def _ways(subject: Subject, features: Features, folds: int) -> Iterator[Candidate]:
    """The way that is named, else those that are possible."""
    data = subject.data
    if data.groups == "near":
        yield Candidate("near", numbered(features.groups.tolist()))
    elif data.groups is not None:
        yield Candidate(data.groups, numbered(group_names(data.groups, features.files, data.root)))
    else:
        yield from candidates(
            features.files, features.labels, data.root, numbered(features.groups.tolist()), least=folds
        )


def _lines(studies: Sequence[GroupStudy]) -> list[str]:
    rows = [
        {
            "groups": each.groups,
            "number": f"{each.number:,}",
            "images": f"{each.smallest}-{each.largest}",
            "random split": f"{each.random.value:.3f}",
            "whole groups": f"{each.whole.value:.3f} ({each.whole.low:.3f}-{each.whole.high:.3f})",
            "claimed too much": f"{each.claimed.value:+.3f} ({each.claimed.low:+.3f} to {each.claimed.high:+.3f})",
        }
        for each in studies
    ]
    most = max(studies, key=lambda each: each.claimed.value)
    lines = [*table(rows, (COLUMNS, COLUMNS[:1] + COLUMNS[3:]), terminal_width(), right=COLUMNS[1:]), ""]
    if most.claimed.low > 0:
        lines.append(
            f"accuracy {most.random.value:.2f} by a random split, {most.whole.value:.2f} by whole groups: train "
            f"with --data.groups {shlex.quote(most.groups)}"
        )
    else:
        lines.append("that a random split claims too much is not shown: the interval of the difference holds 0")
    lines.append(f"n = {most.n:,} images, each judged by linear heads that have not seen it, or not its group")
    return lines
