"""The contract of the readers of annotation tools' exports, and what they read into."""

from collections import Counter
from collections.abc import Mapping, Sequence
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
            image.problems.append(Problem(place, fault, "copy it there, or remove its annotation"))
        split = split or self.folder.split_of_folder(folder_of(path or annotation))
        self.images.setdefault(split, []).append(image)
        return image

    def add_unannotated(self, path: str, expected: str, *, split: str = "") -> None:
        """Add an image whose annotation is missing."""
        image = AnnotatedImage(path, "")
        what = f"no annotation {expected}"
        image.problems.append(Problem(path, what, "annotate it, also where it has no object, or remove the image"))
        self.images.setdefault(split or self.folder.split_of_folder(folder_of(path)), []).append(image)

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
