"""`study similar`: the training images nearest to an image, and embeddings for other programs."""

import argparse
from collections.abc import Sequence
from typing import Any

from visiontasks.commands.printing import terminal_width
from visiontasks.commands.studies.opening import Answer, RunSubject, open_run_subject
from visiontasks.commands.tables import table
from visiontasks.errors import InputError
from visiontasks.predict.image_files import find_images
from visiontasks.study.embeddings import save_embeddings
from visiontasks.study.extractors import predicted
from visiontasks.study.pictures import file_picture, pictures
from visiontasks.study.similar import Query, SimilarStudy, study_similar

MOST_SHOWN = 20
"""Images in lines and pictures; all are in JSON."""


def answer(arguments: argparse.Namespace, overrides: Sequence[str]) -> Answer:
    """Find the nearest training images, and write embeddings.

    Raises:
        InputError: If neither images nor a file for embeddings are named, or no image can be read.
    """
    if not arguments.images and arguments.embeddings is None:
        raise InputError(
            f"name images to search for: visiontasks study similar {arguments.run} photo.jpg; or a file for the "
            "embeddings of the run's own images: --embeddings embeddings.npz"
        )
    files = [image.path for image in find_images(arguments.images)]
    subject = open_run_subject(arguments, overrides)
    if not files:
        return _own_embeddings(arguments, subject)
    images = subject.folder_features(files)
    lines = [f"{file}: {error}" for file, error in list(images.errors.items())[:MOST_SHOWN]]
    if not len(images):
        raise InputError(f"none of {len(files):,} images can be read: {lines[0]}")
    features = subject.features(("train", "val"))
    study = study_similar(features, images, predicted(subject.trained, images.vectors), count=arguments.count)
    lines += _lines(study)
    if arguments.embeddings is not None:
        save_embeddings(arguments.embeddings, images.vectors, images.files, errors=images.errors)
        lines.append(_written(arguments, images.vectors.shape))
    content = {**study.content(), "pictures": [_pictures(query, subject) for query in study.queries[:MOST_SHOWN]]}
    return Answer(subject.folder, lines, content, subject.title)


def _own_embeddings(arguments: argparse.Namespace, subject: RunSubject) -> Answer:
    """Write embeddings of the run's own images, of all splits."""
    features = subject.features()
    labels = [features.class_names[label] for label in features.labels]
    save_embeddings(
        arguments.embeddings, features.vectors, features.names, splits=features.splits.tolist(), labels=labels
    )
    study = SimilarStudy(int((features.splits == "train").sum()), 0, [], {})
    lines = [_written(arguments, features.vectors.shape)]
    return Answer(subject.folder, lines, {**study.content(), "pictures": []}, subject.title)


def _lines(study: SimilarStudy) -> list[str]:
    lines = []
    if len(study.queries) == 1:
        (query,) = study.queries
        lines += [f"{query.name}: {query.predicted} {query.probability:.3f}", ""]
        lines += _table([(each.name, each.label, each.distance) for each in query.neighbours])
    else:
        shown = study.queries[:MOST_SHOWN]
        rows = [(each.neighbours[0].name, each.neighbours[0].label, each.neighbours[0].distance) for each in shown]
        firsts = [{"image": each.name, "predicted": each.predicted} for each in shown]
        lines += _table(rows, firsts)
        more = len(study.queries) - len(shown)
        lines += [f"and {more:,} more, in similar.json"] if more > 0 else []
    lines.append("")
    if study.compared and len(study.queries) == 1:
        share, low, high = study.share_nearer(study.queries[0])
        lines.append(
            f"{share:.0%} ({low:.0%} to {high:.0%}) of {study.compared:,} validation images are nearer to their "
            "nearest training image"
        )
    lines.append(f"n = {study.n:,} training images; distance: 1 - cosine of features of the run's own backbone")
    return lines


def _table(rows: Sequence[tuple[str, str, float]], firsts: Sequence[dict[str, str]] = ()) -> list[str]:
    cells = [{"distance": f"{distance:.4f}", "label": label, "nearest": name} for name, label, distance in rows]
    if not firsts:
        return table(cells, (("distance", "label", "nearest"), ("distance", "label")), terminal_width())
    cells = [{**first, **cell} for first, cell in zip(firsts, cells, strict=True)]
    columns = ("image", "predicted", "distance", "label", "nearest")
    return table(cells, (columns, columns[:-1]), terminal_width())


def _written(arguments: argparse.Namespace, shape: tuple[int, ...]) -> str:
    return f"{arguments.embeddings}: {shape[0]:,} embeddings of {shape[1]:,} values"


def _pictures(query: Query, subject: RunSubject) -> dict[str, Any]:
    return {
        "image": file_picture(query.name, max_16bit=subject.trained.max_16bit),
        "neighbours": pictures(subject.data, [("train", each.row) for each in query.neighbours]),
    }
