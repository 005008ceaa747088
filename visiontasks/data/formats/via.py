"""VGG Image Annotator's JSON, version 1 and 2, https://www.robots.ox.ac.uk/~vgg/software/via.

A rectangle is x, y, width, height in pixels, x and y its upper left corner, edges counting from 0; a circle has its
centre and radius. Of polygons, circles and ellipses the box around them is taken.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.documents import Broken, parsed_json
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export, Found, bounds, corners
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError

Values = Mapping[str, Any]

_METADATA = "_via_img_metadata"
_CLASS_KEYS = ("class", "label", "name", "category", "type", "object")
_WITHOUT_AREA = ("point", "polyline", "line")


class VIA:
    """Reads VIA's annotations or project as JSON; its `size` is that of the file in bytes.

    The class is the attribute that all regions have; of several the one called class, label, name, category, type or
    object. An image without regions has no object.
    """

    name: ClassVar[str] = "via"
    title: ClassVar[str] = "VGG Image Annotator"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        files = folder.matching(lambda file: _is_via(folder.json(file)), ".json")
        return Found(tuple(files), f"{folder.shown(files[0])} has images with regions") if files else None

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`.

        Raises:
            InputError: If it is not clear which attribute is the class.
        """
        contents = {file: _entries(parsed_json(file)) for file in found.files}
        key = _class_key(contents)
        export = Export(folder)
        for file, entries in contents.items():
            for name, entry in entries.items():
                split = folder.split_of_file(file)
                image = export.add(str(entry.get("filename", name)), file, f"{file} image {name}", split=split)
                for number, region in enumerate(_regions(entry), start=1):
                    _add_region(export, image, f"{file} image {name} region {number}", region, key)
        export.add_unlisted(found.files)
        return export


def _entries(content: Any) -> Values:
    entries: Values = content.get(_METADATA, content)
    return entries


def _is_via(content: object) -> bool:
    if isinstance(content, Broken):
        return _METADATA in content.text or ('"regions"' in content.text and '"filename"' in content.text)
    if not isinstance(content, dict) or not content:
        return False
    entries = content.get(_METADATA, content)
    if not isinstance(entries, dict):
        return False
    return all(isinstance(entry, dict) and "filename" in entry and "regions" in entry for entry in entries.values())


def _regions(entry: Values) -> list[Values]:
    """The regions of an image, which version 1 numbers in a map."""
    regions = entry.get("regions") or []
    found = regions.values() if isinstance(regions, dict) else regions
    return [region for region in found if isinstance(region, dict)]


def _class_key(contents: Mapping[str, Values]) -> str:
    """The attribute that is the class; empty where there are no regions."""
    counts: Counter[str] = Counter()
    for region in _all_regions(contents):
        counts.update(key for key, value in (region.get("region_attributes") or {}).items() if value)
    if len(counts) <= 1:
        return next(iter(counts), "")
    named = [key for wanted in _CLASS_KEYS for key in counts if key.casefold() == wanted]
    if named:
        return named[0]
    file = next(iter(contents))
    raise InputError(
        f"{file}: regions have the attributes {listed(sorted(counts))}; rename the one that is the class to class"
    )


def _all_regions(contents: Mapping[str, Values]) -> Iterator[Values]:
    return (region for entries in contents.values() for entry in entries.values() for region in _regions(entry))


def _add_region(export: Export, image: AnnotatedImage, place: str, region: Values, key: str) -> None:
    shape = region.get("shape_attributes") or {}
    kind = str(shape.get("name", ""))
    if kind in _WITHOUT_AREA:
        export.passed_over[kind] += 1
        return
    if shape.get("theta"):
        what = f"{kind} rotated by {shape['theta']} radians, expected an upright one"
        image.problems.append(Problem(place, what, "draw it anew"))
        return
    try:
        box = _box(kind, shape)
    except (KeyError, TypeError, ValueError):
        image.problems.append(Problem(place, f"{kind or 'region'} without its numbers", "draw it anew"))
        return
    image.add_object(place, _chosen((region.get("region_attributes") or {}).get(key)), box)


def _chosen(value: object) -> str:
    """The value of an attribute: a text, or a map of what was ticked where only one was."""
    if isinstance(value, dict):
        ticked = [str(name) for name, is_ticked in value.items() if is_ticked in (True, "true", 1)]
        return ticked[0] if len(ticked) == 1 else ""
    return str(value or "").strip()


def _box(kind: str, shape: Values) -> dict[str, object]:
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return corners((x, y, x + width, y + height))
    if kind == "polygon":
        xs, ys = (list(map(float, shape[key])) for key in ("all_points_x", "all_points_y"))
        return corners(bounds(list(zip(xs, ys, strict=True))))
    radii = ("r", "r") if kind == "circle" else ("rx", "ry")
    x, y, rx, ry = (float(shape[key]) for key in ("cx", "cy", *radii))
    return corners((x - rx, y - ry, x + rx, y + ry))
