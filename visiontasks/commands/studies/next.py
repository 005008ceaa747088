"""`study next`: which unlabelled images are worth labelling, and whether choosing them beats chance."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, open_subject
from visiontasks.commands.tables import table
from visiontasks.csv_tables import CSVWriter
from visiontasks.errors import InputError
from visiontasks.predict.image_files import find_images
from visiontasks.study.next import NextStudy, study_next
from visiontasks.study.pictures import MOST_PICTURES, file_picture

LIST = "next.csv"
MOST_SHOWN = 20


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Choose images to label, and write their list.

    Raises:
        InputError: If no image can be read.
    """
    files = [image.path for image in find_images(arguments.images)]
    subject = open_subject(arguments, overrides)
    features = subject.features()
    images = subject.folder_features(files)
    if not len(images):
        file, error = next(iter(images.errors.items()))
        raise InputError(f"none of {len(files):,} images can be read: {file}: {error}")
    study = study_next(features, images, arguments.count, seed=arguments.seed)
    path = subject.folder / LIST
    _write(path, study)
    shown = [each.name for each in study.chosen[:MOST_PICTURES]]
    content = {
        "backbone": subject.backbone,
        **study.content(),
        "pictures": [file_picture(file, max_16bit=subject.data.max_16bit) for file in shown],
    }
    return Answer(subject.folder, _lines(study, path), content)


def _write(path: Path, study: NextStudy) -> None:
    """A row for each chosen image, and for each that could not be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = CSVWriter(file)
        rows.write(["image", "predicted", "probability", "margin", "error"])
        for each in study.chosen:
            rows.write([each.name, each.predicted, f"{each.probability:.6f}", f"{each.margin:.6f}", None])
        for name, error in study.errors.items():
            rows.write([name, None, None, None, error])


def _lines(study: NextStudy, path: Path) -> list[str]:
    rows = [
        {
            "image": each.name,
            "predicted": each.predicted,
            "probability": f"{each.probability:.3f}",
            "margin": f"{each.margin:.3f}",
        }
        for each in study.chosen[:MOST_SHOWN]
    ]
    header = ("image", "predicted", "probability", "margin")
    lines = [*table(rows, (header, header[:-1]), terminal_width(), right=header[2:]), ""]
    lines[-1:] = [f"and {len(study.chosen) - MOST_SHOWN:,} more", ""] if len(study.chosen) > MOST_SHOWN else [""]
    replay = study.replay
    if replay is None:
        lines.append(
            f"whether choosing beats chance is not known: that takes {study.needed:,} labelled images, got {study.n:,}"
        )
    else:
        lines += [
            f"{replay.verdict} (p = {replay.p:.2g}): accuracy {replay.chosen:.4f} against {replay.random:.4f} with "
            f"{replay.labels:,} labels each,",
            f"difference {replay.difference:+.4f} ({replay.low:+.4f} to {replay.high:+.4f}); {replay.repeats} "
            f"repeats, n = {replay.n:,} images that judge",
        ]
    lines.append(
        f"n = {study.n:,} labelled and {study.unlabelled:,} unlabelled images; {study.duplicates:,} of these are near "
        "duplicates and left out"
    )
    lines += [f"{len(study.errors):,} files cannot be read: their errors are in the list"] if study.errors else []
    return [*lines, f"list: {path}"]
