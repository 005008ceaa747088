"""Labels that were corrected in a table beside the images, which stay where they are.

The table is CSV with the columns file, label, correct: a file from the data's root on, the class that it has by its
folder, and the one that is right; an empty one leaves the image out. `visiontasks study labels` writes it.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visiontasks.class_names import normalized
from visiontasks.csv_tables import read_csv
from visiontasks.data.pipeline.sources import FileSource, Source, Subset, base_row
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

COLUMNS = ["file", "label", "correct"]
KEY = "data.init_args.corrections"


class Correction(NamedTuple):
    """A row of the table."""

    line: int
    label: str
    correct: str


def read_corrections(path: Path) -> dict[str, Correction]:
    """Read a table, by file.

    Raises:
        MissingFileError: If it is not there.
        InputError: If it is no such table, or corrects a file twice.
    """
    if not path.is_file():
        raise MissingFileError(f"{KEY}: no file {path}")
    found: dict[str, Correction] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(read_csv(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{KEY}: {path} is not a CSV table ({error})") from error
    if not rows or rows[0] != COLUMNS:
        raise InputError(f"{KEY}: {path} begins with {rows[0] if rows else 'nothing'}, expected {','.join(COLUMNS)}")
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS):
            raise InputError(f"{KEY}: {path}, line {line} has {len(row)} cells, expected {len(COLUMNS)}")
        name = Path(row[0]).as_posix()
        if name in found:
            raise InputError(f"{KEY}: {path} corrects {name} twice, in lines {found[name].line} and {line}")
        found[name] = Correction(line, row[1], row[2])
    return found


def corrected(
    sources: Mapping[str, Source], corrections: Mapping[str, Correction], *, root: Path, class_names: Sequence[str]
) -> tuple[dict[str, Source], str]:
    """Apply corrections to the splits, none of which gains or loses other images.

    Args:
        sources: Files by split.
        corrections: By file, from the root on or whole.
        root: The data's folder.
        class_names: By class index.

    Returns:
        The sources, and a line that tells how many labels were changed and images left out.

    Raises:
        BadSamplesError: If a file is missing, its label differs from the table, or a class is unknown; lists all of
            them.
    """
    bases = {id(base): base for source in sources.values() if isinstance(base := base_row(source, 0)[0], FileSource)}
    labels = {key: base.labels.copy() for key, base in bases.items()}
    kept = {key: np.ones(len(base), dtype=bool) for key, base in bases.items()}
    known = {normalized(name): label for label, name in enumerate(class_names)}
    left = dict(corrections)
    problems = []
    for key, base in bases.items():
        for row, path in enumerate(map(str, base.paths)):
            name = Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path
            correction = left.pop(name, None) or left.pop(path, None)
            if correction is None:
                continue
            own = class_names[labels[key][row]]
            if normalized(correction.label) != own:
                problems.append(f"line {correction.line}: {name} is labelled {own}, not {correction.label}")
            elif not correction.correct:
                kept[key][row] = False
            elif normalized(correction.correct) not in known:
                problems.append(f"line {correction.line}: no class {correction.correct!r}")
            else:
                labels[key][row] = known[normalized(correction.correct)]
    problems += [f"line {correction.line}: no image {name} in {root}/" for name, correction in left.items()]
    if problems:
        head = (
            f"{KEY}: {len(problems)} of {len(corrections)} corrections do not fit the images; fix or remove their lines"
        )
        raise BadSamplesError("\n".join([head, *problems]), problems)
    made = {key: FileSource(base.paths.tolist(), labels[key], max_16bit=base.max_16bit) for key, base in bases.items()}
    found: dict[str, Source] = {}
    for split, source in sources.items():
        key = id(base_row(source, 0)[0])
        rows = source.rows if isinstance(source, Subset) else np.arange(len(source))
        rows = rows[kept[key][rows]]
        whole = made[key]
        found[split] = whole if len(rows) == len(whole) and not isinstance(source, Subset) else Subset(whole, rows)
    removed = sum(int((~each).sum()) for each in kept.values())
    return found, f"{len(corrections) - removed} labels corrected, {removed} images left out"
