"""Tables of labels: CSV or TSV beside the images, or Parquet, with a line for each image or for each of its labels."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from visiontasks.class_names import normalized
from visiontasks.data.formats.label_columns import FALSE, TRUE, Columns, Wanted, find_columns
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import is_image, listed, natural_key, visible_files
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError, MissingFileError
from visiontasks.regular_files import check_regular

SUFFIXES = (".csv", ".tsv", ".parquet")
_DELIMITERS = ",;\t|"
_UNKNOWN = frozenset({"", "nan"})


@dataclass
class LabelledImage:
    """An image that a table names.

    Args:
        path: Its file; empty where there is none.
        place: Where it was named first, for messages.
        split: train, val, test; empty where the table does not say.
        names: The labels that it has.
        unknown: Labels of which that is not known.
        problems: What is wrong with it.
    """

    path: str
    place: str
    split: str
    names: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class LabelTable:
    """What tables say of the images in a folder.

    Args:
        images: In the order of the tables.
        names: All labels, in the order of their columns, else in natural order.
        notes: How the tables were read.
    """

    images: list[LabelledImage]
    names: list[str]
    notes: list[str]


def tables_in(root: Path) -> list[Path]:
    """The tables directly in a folder; those of answers to be handed in are left out."""
    if not root.is_dir():
        raise MissingFileError(f"no folder {root}/: point --data.init_args.root at the folder of the images")
    files = sorted(entry for entry in root.iterdir() if entry.suffix.lower() in SUFFIXES and entry.is_file())
    return [file for file in files if "submission" not in file.stem.casefold() and not file.name.startswith(".")]


def chosen_tables(root: Path, table: str | None) -> dict[Path, str]:
    """The tables to read, with their splits where their names are those of splits.

    Raises:
        MissingFileError: If there is none.
        InputError: If there are several, which are not called like splits.
    """
    if table is not None:
        path = next((each for each in (root / table, Path(table)) if each.is_file()), None)
        if path is None:
            raise MissingFileError(f"data.init_args.table: no file {root / table}")
        return {path: ""}
    found = tables_in(root)
    if not found:
        raise MissingFileError(f"{root}/ has no table ({', '.join(SUFFIXES)}): name it, --data.table FILE")
    if len(found) == 1:
        return {found[0]: ""}
    split_names = {path: split_of(path.stem) for path in found}
    known = {path: means[0] for path, means in split_names.items() if means and means[0] in SPLITS}
    if "train" in known.values() and len(set(known.values())) == len(found):
        return known
    raise InputError(
        f"{root}/ has several tables ({listed([each.name for each in found])}): name one, --data.table FILE"
    )


def read_label_tables(root: Path, tables: dict[Path, str], wanted: Wanted) -> LabelTable:
    """Read tables of labels.

    Args:
        root: The folder that the images are in.
        tables: Files with the split of all of their images, empty where they do not decide it.
        wanted: What is known of the columns.

    Raises:
        InputError: If a table cannot be read, or it is not clear which column is what.
    """
    index = ImageIndex(root)
    images: dict[str, LabelledImage] = {}
    columns_of: dict[str, None] = {}
    notes: list[str] = []
    for file, split in tables.items():
        header, rows = read_table(file)
        columns = find_columns(
            header, [cells for _, cells in rows if len(cells) == len(header)], wanted, file=str(file)
        )
        notes.append(_note(file, header, columns))
        columns_of |= dict.fromkeys(header[number] for number in columns.labels) if columns.is_hot else {}
        for line, cells in rows:
            _add(images, index, (file, line, split), header, cells, columns, wanted)
    others = {name for image in images.values() for name in image.names} - columns_of.keys()
    names = [*columns_of, *sorted(others, key=natural_key)]
    unlisted = len(index.files) - len({image.path for image in images.values() if image.path})
    if unlisted > 0:
        notes.append(f"{unlisted:,} images of {root}/ are in no line")
    return LabelTable(list(images.values()), names, notes)


def read_table(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the lines with their numbers, as texts.

    Raises:
        InputError: If it cannot be read.
    """
    if file.suffix.lower() == ".parquet":
        return _parquet(file)
    check_regular(file)
    csv.field_size_limit(sys.maxsize)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            delimiter = max(_DELIMITERS, key=first.count)
            stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as a table ({error}); save it as CSV in UTF-8") from error
    if not lines:
        raise InputError(f"{file} is empty, expected a line of column names and a line for each image")
    header = lines[0][1]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{file}: columns {listed(twice)} are there twice; rename one")
    return header, [(number, row) for number, row in lines[1:] if any(row)]


class ImageIndex:
    """The image files below a folder, by what tables call them.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted(path for path in visible_files(root) if is_image(path))
        self._by_name: dict[str, list[str]] = {}
        for path in self.files:
            below = PurePosixPath(Path(path).relative_to(root).as_posix())
            for name in {str(below), str(below.with_suffix("")), below.name, below.stem}:
                self._by_name.setdefault(normalized(name), []).append(path)

    def find(self, written: str) -> list[str]:
        """Files that a cell may mean: a path from the folder on, or a name, with or without a suffix."""
        name = normalized(written.replace("\\", "/").removeprefix("./"))
        if Path(name).is_absolute():
            return [name] if Path(name).is_file() else []
        found = self._by_name.get(name, [])
        exact = [path for path in found if Path(path).relative_to(self.root).as_posix() in (name, written)]
        return exact or found or self._by_name.get(PurePosixPath(name).name, [])


def _parquet(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    if find_spec("pyarrow") is None:
        raise InputError(
            f"{file}: reading Parquet needs pyarrow: pip install 'visiontasks[parquet]', or save it as CSV"
        )
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{file}: cannot be read as Parquet ({error})") from error
    columns = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(cells) for cells in zip(*columns, strict=True)]
    return list(table.column_names), list(enumerate(rows, start=1))


def _text(value: object) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else str(value).strip()


def _note(file: Path, header: Sequence[str], columns: Columns) -> str:
    labels = [header[number] for number in columns.labels]
    what = f"{len(labels)} columns of 1 and 0 ({listed(labels)})" if columns.is_hot else f"column {labels[0]}"
    between = f", separated by {columns.separator!r}" if columns.separator else ""
    split = "" if columns.split is None else f", splits in {header[columns.split]}"
    unused = f"; not used: {listed(list(columns.unused))}" if columns.unused else ""
    return f"{file.name}: images in column {header[columns.path]}, labels in {what}{between}{split}{unused}"


def _add(
    images: dict[str, LabelledImage],
    index: ImageIndex,
    place: tuple[Path, int, str],
    header: Sequence[str],
    cells: Sequence[str],
    columns: Columns,
    wanted: Wanted,
) -> None:
    file, line, table_split = place
    where = f"{file} line {line}"
    if len(cells) != len(header):
        problem = Problem(where, f"{len(cells)} cells, expected {len(header)}", "put texts with separators in quotes")
        images[where] = LabelledImage("", where, "train", problems=[problem])
        return
    written = cells[columns.path]
    found = index.find(written) if written else []
    split, fault = table_split, None
    if columns.split is not None and not table_split:
        split, fault = _split(header[columns.split], cells[columns.split], where)
    key = found[0] if len(found) == 1 else f"{written} {where}"
    is_new = key not in images
    image = images.setdefault(key, LabelledImage(found[0] if len(found) == 1 else "", where, split))
    image.problems += [fault] if fault else []
    if not written:
        image.problems.append(Problem(where, "no image is named", "name it, or remove the line"))
    elif not found:
        what = f"no image {written!r:.200} below {index.root}/"
        image.problems.append(Problem(where, what, "copy it there, or remove the line"))
    elif len(found) > 1:
        what = f"{written!r:.200} may be {listed([Path(path).relative_to(index.root).as_posix() for path in found])}"
        image.problems.append(Problem(where, what, f"write its path from {index.root}/ on"))
    if split != image.split:
        what = f"{written!r:.200} is in {split} here and in {image.split} in {image.place}"
        image.problems.append(Problem(where, what, "remove one"))
    names, unknown, faults = _labels(header, cells, columns, where)
    image.problems += faults
    _check_again(image, names, where, written, wanted=wanted, is_new=is_new, is_hot=columns.is_hot)
    image.names |= names
    image.unknown |= unknown


def _check_again(
    image: LabelledImage, names: set[str], where: str, written: str, *, wanted: Wanted, is_new: bool, is_hot: bool
) -> None:
    """Note an image that has two lines, unless each of them adds a label to those of several."""
    if not wanted.several and len(names) != 1 and not image.problems:
        what = f"{written!r:.200} has {f'labels {listed(sorted(names))}' if names else 'no label'}, expected one"
        way = "correct the line, or train on several labels (recipe folder_labels)"
        image.problems.append(Problem(where, what, way))
    if is_new or (wanted.several and not is_hot and not names <= image.names):
        return
    same = names == image.names
    what = f"{written!r:.200} is there twice, also in {image.place}{'' if same else ' with other labels'}"
    image.problems.append(Problem(where, what, "remove one of the lines"))


def _labels(
    header: Sequence[str], cells: Sequence[str], columns: Columns, where: str
) -> tuple[set[str], set[str], list[Problem]]:
    """Labels that a line gives, those that are unknown there, and what is wrong with it."""
    if not columns.is_hot:
        cell = cells[columns.labels[0]]
        parts = cell.split(columns.separator) if columns.separator else [cell]
        return {normalized(part.strip()) for part in parts if part.strip()}, set(), []
    names: set[str] = set()
    unknown: set[str] = set()
    problems = []
    for number in columns.labels:
        value, name = cells[number].casefold(), header[number]
        if value in TRUE:
            names.add(name)
        elif value in _UNKNOWN:
            unknown.add(name)
        elif value not in FALSE:
            way = "write 1, 0, or nothing where it is not known"
            problems.append(Problem(where, f"{cells[number]!r:.50} in column {name}, expected 1 or 0", way))
    return names, unknown, problems


def _split(column: str, value: str, where: str) -> tuple[str, Problem | None]:
    if column.casefold() == "is_valid":
        if value.casefold() in TRUE | FALSE:
            return ("val" if value.casefold() in TRUE else "train"), None
    else:
        means = split_of(value)
        if means and means[0] in SPLITS:
            return means[0], None
    return "train", Problem(where, f"split {value!r:.50}", "write train, val or test")
