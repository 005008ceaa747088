"""The contract of the readers of annotation tools' exports, and what they read into."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.export_folder import ExportFolder, folder_of
from visiontasks.data.formats.split_folders import SPLITS
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Size

_SOME = 3


@dataclass(frozen=True)
class Found:
    """A format that a folder is in.

    Args:
        files: The annotation files that `read` reads.
        reason: What it was recognized by, for people.
    """

    files: tuple[str, ...]
    reason: str


class ExportFormat(Protocol):
    """A reader of one format."""

    name: ClassVar[str]
    """As `data.init_args.format` spells it."""
    title: ClassVar[str]
    """As people call it."""

    def matches(self, folder: ExportFolder) -> Found | None:
        """Whether a folder is in this format; looks at some of its files."""
        ...

    def read(self, folder: ExportFolder, found: Found) -> "Export":
        """Read the annotations; what is wrong with single images or objects becomes a problem of theirs.

        Raises:
            InputError: If a file for a whole split cannot be read.
        """
        ...


@dataclass
class Export:
    """What the annotations of a folder hold.

    Args:
        folder: The folder.
        reading: How the numbers of its boxes are read.
    """

    folder: ExportFolder
    reading: Reading = Reading()  # noqa: RUF009 (frozen)
    class_names: list[str] = field(default_factory=list)
    """In the format's own order; empty where it has none."""
    notes: list[str] = field(default_factory=list)
    """How the export is read where its owner may expect otherwise."""
    images: dict[str, list[AnnotatedImage]] = field(default_factory=dict)
    """By split; "" for those that no file or folder gives a split."""
    missing: list[str] = field(default_factory=list)
    """Images that annotations name and that are not there."""
    unfinished: set[str] = field(default_factory=set)
    """Images that the tool itself calls not annotated yet."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Kinds of annotations that are no boxes, and how many."""

    def add(
        self, written: str, annotation: str, place: str, *, split: str = "", size: Size | None = None
    ) -> AnnotatedImage:
        """Add an image by the name that an annotation has for it.

        Args:
            written: Its path, see `ExportFolder.find_image`.
            annotation: The file that has it.
            place: Where in the file, for messages.
            split: That of the annotation; by default that of the image's folder.
            size: Height and width by the annotation.
        """
        path, fault = self.folder.find_image(written, annotation, split)
        return self.add_found(path, fault, written, annotation, place, split=split, size=size)

    def add_found(
        self,
        path: str,
        fault: str,
        written: str,
        annotation: str,
        place: str,
        *,
        split: str = "",
        size: Size | None = None,
    ) -> AnnotatedImage:
        """Add an image that was looked for already; empty `path` with the `fault` if it was not found."""
        image = AnnotatedImage(path, annotation, size)
        if not path:
            self.missing.append(written)
            what, _, fix = fault.partition("; ")
            image.problems.append(Problem(place, what, fix or "copy it there, or remove its annotation"))
        split = split or self.folder.split_of_folder(folder_of(path or annotation))
        self.images.setdefault(split, []).append(image)
        return image

    def add_unlisted(self, files: Sequence[str]) -> None:
        """Add the images that none of the files names, see `add_unannotated`."""
        split_of_file = {file: self.folder.split_of_file(file) for file in files}

        def expected(path: str) -> str:
            split = self.folder.split_of_folder(folder_of(path))
            own = [file for file, of_file in split_of_file.items() if of_file == split] or list(files)
            return f"in {listed([self.folder.shown(file) for file in own])}"

        self.add_unannotated(expected)

    def add_unannotated(self, expected: Callable[[str], str], *, split_of: Mapping[str, str] | None = None) -> None:
        """Add the images that have no annotation, each with this as its problem: it is not known what they show.

        A folder without any annotated image is passed over with a note: it may hold originals, or images to predict.

        Args:
            expected: By the image, where its annotation is expected.
            split_of: The split of each image that is looked at; all of them by default, with the split of the folder.
        """
        paths = list(self.folder.images if split_of is None else split_of)
        claimed = {image.path for images in self.images.values() for image in images}
        folders = {folder_of(path) for path in claimed}
        passed_over: dict[str, int] = {}
        for path in paths:
            if path in claimed or path in self.unfinished:
                continue
            if folder_of(path) not in folders:
                passed_over[folder_of(path)] = passed_over.get(folder_of(path), 0) + 1
                continue
            image = AnnotatedImage(path, "")
            what = f"no annotation {expected(path)}"
            image.problems.append(Problem(path, what, "annotate it, also where it has no object, or remove the image"))
            split = (split_of or {}).get(path) or self.folder.split_of_folder(folder_of(path))
            self.images.setdefault(split, []).append(image)
        self.notes += [
            f"{count:,} image(s) in {self.folder.shown(folder)}/ are passed over: none of this folder is annotated"
            for folder, count in passed_over.items()
        ]

    def splits(self) -> dict[str, list[AnnotatedImage]]:
        """The images of each split; `train` alone where there are none.

        Raises:
            InputError: If some images have a split and others do not.
        """
        found = {split: self.images[split] for split in ("", *SPLITS) if self.images.get(split)}
        rest = [image for image in found.pop("", []) if image.path or not found]  # a missing image may be of any
        if not found:
            return {"train": rest} if rest else {}
        lost = [image for image in self.images.get("", []) if not image.path]
        if rest:
            some = listed([self.folder.shown(image.path) for image in rest[:_SOME]])
            raise InputError(
                f"data.init_args.root: {len(rest)} image(s) of {self.folder.root}/ are in no split (such as {some}), "
                f"others are in {', '.join(found)}: move them into the folder of a split, or all out of such folders "
                "to have them divided"
            )
        first = next(iter(found))
        return {**found, first: [*found[first], *lost]}

    def all_notes(self) -> list[str]:
        """`notes`, and what was passed over."""
        if not self.passed_over:
            return list(self.notes)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.passed_over.items()))
        return [*self.notes, f"annotations without an area, passed over: {kinds}"]


def splits_note(files: list[str]) -> str:
    """The note that splits are those of lists or of a data.yaml."""
    return f"splits are those of {listed(files)}"


def bounds(points: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """The smallest box around points.

    Args:
        points: x and y, (N, 2), N at least 1.

    Returns:
        x1, y1, x2, y2.
    """
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    return min(xs), min(ys), max(xs), max(ys)


def corners(box: Sequence[float]) -> dict[str, object]:
    """Two corners by the names that messages call them."""
    return dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))


def number_pairs(value: object) -> list[tuple[float, float]] | None:
    """Points of a JSON list like [[1, 2], [3, 4]]; None if it is not one."""
    if not isinstance(value, list) or not value:
        return None
    try:
        return [(float(x), float(y)) for x, y in value]
    except (TypeError, ValueError):
        return None


def size_of(row: Mapping[str, object], height: str = "height", width: str = "width") -> Size | None:
    """Height and width that an annotation has; None where they are missing or 0, as some tools write."""
    try:
        size = int(float(str(row.get(height)))), int(float(str(row.get(width))))
    except (ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None
