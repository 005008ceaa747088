"""`study field`: how photographs differ from the validation images, and what accuracy to expect on them."""

import argparse
from collections.abc import Sequence

import numpy as np

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, RunSubject, counted_images, open_run_subject
from visiontasks.commands.tables import table
from visiontasks.data.pipeline.sources import Int64Array, fingerprint
from visiontasks.errors import InputError
from visiontasks.outputs.base import Float32Array, UInt8Array
from visiontasks.outputs.geometry import Size
from visiontasks.predict.image_files import find_images
from visiontasks.study.altered import Altered, altered_features
from visiontasks.study.extractors import fine_tuned, predicted
from visiontasks.study.features import Features
from visiontasks.study.field import Answers, Calibration, FieldStudy, Seen, answers_of, calibrate, study_field
from visiontasks.study.looks import FILE_MEASURES, MEASURES, file_measures

MOST_ALTERED = 150
"""Validation images, taken evenly, that are made worse in all ways."""


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Compare photographs with validation images.

    Raises:
        InputError: If there are too few images.
    """
    files = [image.path for image in find_images(arguments.images)]
    subject = open_run_subject(arguments, overrides)
    features = subject.features(("train", "val"))
    val = features.select(features.splits == "val")
    train = features.select(features.splits == "train")
    calibration, looks = _calibration(subject, val, train)
    images = subject.folder_features(files)
    if not len(images):
        file, error = next(iter(images.errors.items()))
        raise InputError(f"none of {len(files):,} images can be read: {file}: {error}")
    of_files = zip(FILE_MEASURES, file_measures(images.files, images.sizes).T, strict=True)
    field = Seen(_answers(subject, images.vectors, train), _looks(images.looks) | dict(of_files))
    clean = Seen(_answers(subject, val.vectors, train), looks)
    study = study_field(clean, val.labels, calibration, field, val.class_names, errors=images.errors)
    return Answer(subject.folder, _lines(study), study.content(), subject.title)


def _calibration(subject: RunSubject, val: Features, train: Features) -> tuple[Calibration, dict[str, Float32Array]]:
    """How accuracy falls on validation images made worse, and what these look like as they are."""
    rows = np.unique(np.linspace(0, len(val) - 1, min(len(val), MOST_ALTERED)).astype(np.int64))
    if not len(rows):
        raise InputError(f"{subject.trained.folder} has no validation images to compare with")
    altered = _altered(subject, rows)
    clean, *worse = (_answers(subject, vectors, train) for vectors in (altered.clean, *altered.worse.swapaxes(0, 1)))
    looks, files = _looks(altered.looks), [val.files[row] for row in rows]
    if all(files):
        looks |= zip(FILE_MEASURES, file_measures(files, altered.sizes).T, strict=True)
    return calibrate(clean, worse, val.labels[rows]), looks


def _answers(subject: RunSubject, vectors: Float32Array, train: Features) -> Answers:
    return answers_of(predicted(subject.trained, vectors), vectors, train.vectors, train.labels)


def _looks(looks: Float32Array) -> dict[str, Float32Array]:
    return dict(zip(MEASURES, looks.T, strict=True))


def _altered(subject: RunSubject, rows: Int64Array) -> Altered:
    """Features of some validation images as they are and made worse."""
    data, network = subject.data.dataset("val"), fine_tuned(subject.trained)
    source, max_16bit = subject.data.source("val"), subject.data.max_16bit
    facts = [data.size, data.resize, max_16bit, fingerprint(source), rows.tolist()]
    about = {"data": type(subject.data).__name__, "root": str(getattr(subject.data, "root", ""))}

    def read(row: int) -> tuple[UInt8Array, Size]:
        sample = data[int(rows[row])]
        return sample["image"], (int(sample["geometry"][0]), int(sample["geometry"][1]))

    with counted_images() as on_images:
        return altered_features(read, len(rows), network, facts, about, on_images=on_images)


def _lines(study: FieldStudy) -> list[str]:
    rows = [
        {
            "measure": each.name,
            "validation": f"{each.clean:.3g}",
            "photographs": f"{each.field:.3g}",
            "higher": f"{each.higher:.2f}",
            "interval": f"{each.low:.2f}-{each.high:.2f}",
            "p": f"{each.p:.2g}",
        }
        for each in study.differences
    ]
    columns = ("measure", "validation", "photographs", "higher", "interval", "p")
    lines = [*table(rows, (columns, (*columns[:3], "p")), terminal_width(), right=columns[1:]), ""]
    shares = [
        {
            "predicted": each.name,
            "validation": f"{each.clean:.3f}",
            "photographs": f"{each.field:.3f}",
            "interval": f"{each.low:.3f}-{each.high:.3f}",
        }
        for each in sorted(study.shares, key=lambda each: -abs(each.field - each.clean))[:10]
    ]
    names = ("predicted", "validation", "photographs", "interval")
    lines += [*table(shares, (names, names[:3]), terminal_width(), right=names[1:]), f"p = {study.p_classes:.2g}", ""]
    verdict = "the photographs differ from" if study.differs else "no difference is found between the photographs and"
    forecast = study.forecast
    lines += [
        f"{verdict} the validation images (p: of tests of which 5 % raise any false alarm)",
        f"accuracy to expect: {forecast.accuracy:.3f} ({forecast.low:.3f} to {forecast.high:.3f}); on the validation "
        f"images {study.accuracy:.3f} ({study.low:.3f} to {study.high:.3f})",
        f"n = {study.n:,} photographs, {study.compared:,} validation images; forecasts for these, made worse in "
        f"{forecast.ways} ways, are {forecast.error:.3f} off in the mean",
    ]
    lines += [f"{file}: {error}" for file, error in list(study.errors.items())[:10]]
    return lines
