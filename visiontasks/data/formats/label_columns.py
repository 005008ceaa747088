"""Which column of a table of labels is what.

A table has a line of column names, then a line for each image (or for each label of an image). One column names the
image; the labels are in one column, or each has its own with 1 and 0. A column named split, set, subset or is_valid
divides the images.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from visiontasks.data.pipeline.files import listed
from visiontasks.errors import InputError

PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_name", "image_file", "img"),
    *("img_path", "id", "image_id", "imageid", "img_id", "name", "photo", "picture", "fname"),
)
"""Names of the column of the image, casefolded, the surest first."""
LABELS = (
    *("label", "labels", "class", "classes", "class_name", "category", "categories", "target", "tags", "tag"),
    *("breed", "species", "diagnosis", "attributes", "genre", "dx", "y"),
)
SPLITS = ("split", "set", "subset", "is_valid", "partition")
UNUSED = ("group", "weight", "fold")
"""Columns with a meaning that is not read; a note names them."""
SEPARATORS = ("|", ";", ",", " ")
"""Between several labels in a cell; a blank only where a column is called tags."""
TRUE, FALSE = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Where a table's lines have what, as numbers of columns.

    Args:
        path: The image.
        labels: One column with labels, or one for each label.
        is_hot: Whether each label has its own column.
        separator: Between several labels in the one column; empty for one label.
        split: The split, if a column has it.
        unused: Names of all other columns.
    """

    path: int
    labels: tuple[int, ...]
    is_hot: bool
    separator: str = ""
    split: int | None = None
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What the user specifies of a table; what is empty is detected.

    Args:
        path: Name of the column of the image.
        labels: Names of the columns of labels.
        separator: Between several labels in a cell.
        several: Whether an image may have any number of labels, else it has one.
    """

    path: str = ""
    labels: Sequence[str] = ()
    separator: str = ""
    several: bool = False


def find_columns(header: Sequence[str], rows: Sequence[Sequence[str]], wanted: Wanted, *, file: str) -> Columns:
    """Find out which column is what.

    Args:
        header: Names of the columns.
        rows: Cells of the lines, as many as names; of a large table the first ones are enough.
        wanted: What is known.
        file: For messages.

    Raises:
        InputError: If the image or the labels are in no column, or in several that are alike.
    """
    at = {name.casefold(): number for number, name in reversed(list(enumerate(header)))}
    for key, names in (("path_column", [wanted.path] if wanted.path else []), ("label_columns", wanted.labels)):
        unknown = [name for name in names if name.casefold() not in at]
        if unknown:
            raise InputError(f"data.init_args.{key}: {file} has no column {listed(unknown)}; it has {_shown(header)}")
    path = at[wanted.path.casefold()] if wanted.path else next((at[name] for name in PATHS if name in at), None)
    if path is None:
        raise InputError(
            f"{file}: none of its columns is known to name the images ({_shown(header)}): name it, "
            "--data.path_column COLUMN"
        )
    split = next((at[name] for name in SPLITS if name in at and at[name] != path), None)
    roles = {path, split, *(at[name] for name in UNUSED if name in at)}
    labels = [at[name.casefold()] for name in wanted.labels]
    others = [number for number in range(len(header)) if number not in roles]
    if not labels:
        labels = _label_columns(header, rows, others, at, file=file)
    is_hot = len(labels) > 1 or (bool(rows) and wanted.several and _is_hot(rows, labels[0]) and bool(wanted.labels))
    separator = wanted.separator or (_separator(header, rows, labels[0]) if wanted.several and not is_hot else "")
    unused = tuple(header[number] for number in range(len(header)) if number not in {path, split, *labels})
    return Columns(path, tuple(labels), is_hot, separator, split, unused)


def _label_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], others: Sequence[int], at: dict[str, int], *, file: str
) -> list[int]:
    named = [at[name] for name in LABELS if name in at and at[name] in others]
    hot = [number for number in others if _is_hot(rows, number)]
    if named and named[0] not in hot:
        return named[:1]
    if len(hot) > 1:
        return hot
    if named or len(others) == 1:
        return (named or list(others))[:1]
    raise InputError(
        f"{file}: it is not clear which of its columns are labels ({_shown(header)}): name them, --data.label_columns "
        "'[COLUMN, ...]'"
    )


def _is_hot(rows: Sequence[Sequence[str]], number: int) -> bool:
    """Whether a column has 1 and 0 alone, and cells that are empty or -1 perhaps."""
    found = {row[number].casefold() for row in rows}
    return bool(found & (TRUE | FALSE)) and found <= TRUE | FALSE | {"", "-1", "-1.0", "nan"}


def _separator(header: Sequence[str], rows: Sequence[Sequence[str]], number: int) -> str:
    """What stands between labels in a column; empty where no cell has several."""
    cells = [row[number] for row in rows]
    known = SEPARATORS if header[number].casefold() in ("tags", "labels") else SEPARATORS[:-1]
    return next((sign for sign in known if any(sign in cell.strip() for cell in cells)), "")


def numbers_among(names: Sequence[str]) -> list[str]:
    """Labels that are numbers with decimals, of which a table of measurements is made."""
    return [name for name in names if _NUMBER.fullmatch(name) and float(name) != int(float(name))]


def _shown(header: Sequence[str]) -> str:
    return listed([repr(name) for name in header])
