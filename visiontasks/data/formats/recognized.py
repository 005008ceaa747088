"""Which annotation tool's format a folder is in. A format is a file of this package and a line here."""

from collections.abc import Sequence

from visiontasks.data.formats.coco import COCO
from visiontasks.data.formats.create_ml import CreateML
from visiontasks.data.formats.cvat import CVAT
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export, ExportFormat, Found
from visiontasks.data.formats.label_studio import LabelStudio
from visiontasks.data.formats.labelme import LabelMe
from visiontasks.data.formats.open_images import OpenImages
from visiontasks.data.formats.tables import Tables
from visiontasks.data.formats.via import VIA
from visiontasks.data.formats.voc import VOC
from visiontasks.data.formats.yolo import YOLO
from visiontasks.data.pipeline.files import listed
from visiontasks.errors import InputError, MissingFileError

EXPORT_FORMATS: tuple[ExportFormat, ...] = (
    COCO(),
    VOC(),
    YOLO(),
    Tables(),
    OpenImages(),
    LabelMe(),
    CVAT(),
    LabelStudio(),
    VIA(),
    CreateML(),
)

_SHOWN = 6


def read_export(folder: ExportFolder, wanted: str | None = None) -> Export:
    """Read the annotations of a folder; the first note is the format and what it was recognized by.

    Args:
        folder: The folder.
        wanted: Name of the format, where it is not to be found out.

    Raises:
        MissingFileError: If there are no annotations, none in the format that is wanted, or no images.
        InputError: If there are annotations in several formats, or they cannot be read.
    """
    found = recognized(folder)
    if wanted is not None:
        chosen = [(each, match) for each, match in found if each.name == wanted]
        if not chosen:
            others = "; ".join(f"{each.title} ({match.reason})" for each, match in found) or "no annotations"
            raise MissingFileError(f"data.init_args.format: {wanted}, but {folder.root}/ has {others}")
        found = chosen
    if not found:
        titles = ", ".join(f"{each.title} ({each.name})" for each in EXPORT_FORMATS)
        raise MissingFileError(
            f"data.init_args.root: no annotations in {folder.root}/ that are recognized, expected an export as {titles}"
        )
    if len(found) > 1:
        each_of = "; ".join(f"{each.title} ({match.reason})" for each, match in found)
        names = " or ".join(each.name for each, _ in found)
        raise InputError(
            f"data.init_args.format: {folder.root}/ has annotations in {len(found)} formats: {each_of}; choose one "
            f"with --data.init_args.format {names}, or move the others away"
        )
    form, match = found[0]
    export = form.read(folder, match)
    _check_images(export, form)
    if folder.masks:
        some = listed(sorted(folder.shown(path) for path in folder.masks)[:_SHOWN])
        export.notes.append(
            f"{len(folder.masks):,} picture(s) that are masks by their folder are no images, such as {some}"
        )
    export.notes.insert(0, f"format: {form.title}: {match.reason}")
    return export


def recognized(folder: ExportFolder) -> Sequence[tuple[ExportFormat, Found]]:
    """All formats that a folder is in, and what each was recognized by."""
    return [(each, match) for each in EXPORT_FORMATS if (match := each.matches(folder))]


def _check_images(export: Export, form: ExportFormat) -> None:
    """Refuse annotations without any image, with the names that are expected."""
    if any(image.path for images in export.images.values() for image in images):
        return
    root = export.folder.root
    names = list(dict.fromkeys(name for name in export.missing if name.strip()))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    expected = f": expected {listed(names[:_SHOWN])}{more}" if names else ""
    what = "none of the images" if export.folder.images else "no images"
    raise MissingFileError(
        f"data.init_args.root: {root}/ has annotations as {form.title}, but {what}{expected}; copy the images there"
    )
