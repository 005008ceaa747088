"""Pascal VOC's XML, a file for each image: of VOC itself, LabelImg, Roboflow, CVAT, Label Studio and many others.

A box is xmin, ymin, xmax, ymax in pixels. VOC's own files count pixels from 1 and name the first and the last one of
the object: 1 1 10 10 are the first 10 pixels, here the edges 0 0 10 10. Tools that only write the format count edges
from 0 and are taken as written (LabelImg writes an edge of 0 as 1, which is within what is taken for rounding); the
file's `source` (The VOC2012 Database) decides which of the two it is.
See http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf and Detectron2's reader, which takes 1 off as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element

from visiontasks.class_names import normalized
from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.documents import parsed_xml, xml_root_name
from visiontasks.data.formats.export_folder import ExportFolder, folder_of, name_of, stem_of
from visiontasks.data.formats.exports import Export, Found, size_of, splits_note
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LISTING_FOLDERS = ("main", "imagesets", "splits")
FROM_ONE = "pixels are counted from 1, as in Pascal VOC's own files"
_OWN_SOURCES = ("the voc", "pascal voc")


class VOC:
    """Reads VOC annotations: an XML file with the stem of each image, wherever either lies.

    Splits are ImageSets/Main/train.txt and the like where there are such lists, else the folders. Objects marked
    `difficult` are crowds: in VOC's own evaluation they are ignored. An image whose file has no object has none.
    """

    name: ClassVar[str] = "voc"
    title: ClassVar[str] = "Pascal VOC"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        found = [file for file in folder.sample(".xml") if xml_root_name(file) == "annotation"]
        return Found((), f"{folder.shown(found[0])} begins with <annotation>") if found else None

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`."""
        export = Export(folder)
        files = folder.with_suffix(".xml")
        listings = _listings(folder)
        split_of_stem = _listed_splits(listings, {_stem(file) for file in [*files, *folder.images]})
        skipped, own = 0, 0
        for file in files:
            split = split_of_stem.get(_stem(file), "")
            if split_of_stem and not split:
                skipped += 1
                continue
            own += _add_file(export, file, split or folder.split_of_folder(folder_of(file)))
        listed_images = {path: split for path in folder.images if (split := split_of_stem.get(_stem(path), ""))}
        export.add_unannotated(lambda path: f"{_stem(path)}.xml", split_of=listed_images if split_of_stem else None)
        if listings:
            export.notes.append(splits_note([folder.shown(file) for files in listings.values() for file in files]))
        if skipped:
            export.notes.append(f"{skipped:,} annotation(s) that no list of a split names are left out")
        if own:
            export.notes.append(FROM_ONE)
        return export


def _stem(file: str) -> str:
    return normalized(stem_of(file))


def _listings(folder: ExportFolder) -> dict[str, list[str]]:
    """Text files of each split such as ImageSets/Main/train.txt; trainval.txt where there is no train and val."""
    files: dict[str, list[str]] = {}
    for file in folder.with_suffix(".txt"):
        place = name_of(folder_of(file)).casefold()
        if place not in _LISTING_FOLDERS and folder_of(file) != str(folder.root):
            continue
        name = stem_of(file)
        means = split_of(name)
        if name.casefold() == "trainval":
            files.setdefault("trainval", []).append(file)
        elif means and not means[1] and means[0] in SPLITS:
            files.setdefault(means[0], []).append(file)
    if "train" not in files and "val" not in files and "trainval" in files:
        files["train"] = files["trainval"]
    return {split: files[split] for split in SPLITS if split in files}


def _listed_splits(listings: Mapping[str, Sequence[str]], stems: set[str]) -> dict[str, str]:
    """The split of each stem that lists name."""
    found: dict[str, str] = {}
    for split, file in ((split, file) for split, files in listings.items() for file in files):
        for stem in _listed_stems(file, stems):
            if found.setdefault(stem, split) != split:
                raise InputError(f"{file}: {stem} is listed for {found[stem]} too; list each image once")
    return found


def _listed_stems(file: str, known: set[str]) -> Iterable[str]:
    """The stems in a list, which may have a suffix or a folder."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}), expected the name of an image in each line") from error
    written = [normalized(line.strip()) for line in lines if line.strip()]
    stems = [name if name in known else _stem(name.replace("\\", "/")) for name in written]
    unknown = [name for name, stem in zip(written, stems, strict=True) if stem not in known]
    if unknown:
        raise InputError(f"{file}: names images that are not there: {listed(unknown)}; copy them there, or correct it")
    return stems


def _add_file(export: Export, file: str, split: str) -> bool:
    """Add an image with the objects of its XML file; gives whether it is one of VOC's own."""
    root = parsed(file)
    written = "" if isinstance(root, Problem) else (root.findtext("filename") or "").strip()
    name = written.replace("\\", "/").rpartition("/")[2]
    found = export.folder.find_stem(stem_of(file), file, split, name)
    image = export.add_found(*found, f"{stem_of(file)}.*", file, file, split=split)
    return add_objects(image, root)


def add_objects(image: AnnotatedImage, root: Element | Problem) -> bool:
    """Add the size and the objects of an XML file to its image, or what is wrong with it.

    Returns:
        Whether it is one of VOC's own, which count pixels from 1.
    """
    if isinstance(root, Problem):
        image.problems.append(root)
        return False
    image.size = size_of({side: root.findtext(f"size/{side}") for side in ("height", "width")})
    first = _first_pixel(root)
    for number, element in enumerate(root.findall("object"), start=1):
        box: dict[str, object] = {corner: _corner(element, corner, first) for corner in _CORNERS}
        is_difficult = (element.findtext("difficult") or "").strip() not in ("", "0")
        name = (element.findtext("name") or "").strip()
        image.add_object(f"{image.annotation} object {number}", name, box, crowd=is_difficult)
    return first == 1


def parsed(file: str) -> Element | Problem:
    """The root of an XML file, or what is wrong with it."""
    try:
        return parsed_xml(file)
    except InputError as error:
        what, _, fix = str(error).partition(": ")[2].rpartition("; ")
        return Problem(str(error).partition(": ")[0], what or fix, fix)


def _first_pixel(root: Element) -> int:
    """1 in VOC's own files, else 0."""
    sources = [(root.findtext(f"source/{key}") or "").casefold() for key in ("database", "annotation")]
    return int(any(source.startswith(_OWN_SOURCES) for source in sources))


def _corner(element: Element, corner: str, first: int) -> str | float:
    """A corner as written, or the edge before the pixel where pixels are counted from 1."""
    written = (element.findtext(f"bndbox/{corner}") or "").strip()
    if not first or corner.endswith("max"):
        return written
    try:
        return float(written) - first
    except ValueError:
        return written
