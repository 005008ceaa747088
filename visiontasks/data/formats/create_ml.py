"""Create ML's JSON, of Apple's tool and Roboflow, https://developer.apple.com/documentation/createml.

A box is x, y, width, height in pixels, x and y its centre; edges count from 0.
"""

from typing import Any, ClassVar

from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.documents import Broken, parsed_json
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export, Found
from visiontasks.data.pipeline.problems import Problem

_BOX = ("x", "y", "width", "height")
_IMAGE = ("image", "imagefilename", "imageFilename")
_OBJECTS = ("annotations", "annotation")


class CreateML:
    """Reads Create ML: one JSON list of images, or one for each split."""

    name: ClassVar[str] = "createml"
    title: ClassVar[str] = "Create ML"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        files = folder.matching(lambda file: _is_create_ml(folder.json(file)), ".json")
        return Found(tuple(files), f"{folder.shown(files[0])} lists images with coordinates") if files else None

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`."""
        export = Export(folder, Reading("cxcywh"))
        for file in found.files:
            split = folder.split_of_file(file)
            for number, row in enumerate(parsed_json(file), start=1):
                place = f"{file} image {number}"
                written, objects = (_value(row, keys) for keys in (_IMAGE, _OBJECTS))
                image = export.add(str(written or ""), file, place, split=split)
                if not isinstance(objects, list):
                    image.problems.append(Problem(place, "no list annotations", "correct it, or remove the entry"))
                    continue
                for count, each in enumerate(objects, start=1):
                    box = each.get("coordinates") if isinstance(each, dict) else None
                    numbers = {key: box.get(key) if isinstance(box, dict) else None for key in _BOX}
                    label = str(each.get("label") or "").strip() if isinstance(each, dict) else ""
                    image.add_object(f"{place} object {count}", label, numbers)
        export.add_unlisted(found.files)
        return export


def _value(row: object, keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if key in row), None) if isinstance(row, dict) else None


def _is_create_ml(content: object) -> bool:
    if isinstance(content, Broken):
        return '"coordinates"' in content.text and any(f'"{key}"' in content.text for key in _IMAGE)
    if not isinstance(content, list) or not content:
        return False
    objects = [_value(row, _OBJECTS) for row in content if _value(row, _IMAGE)]
    if len(objects) < len(content) or not all(isinstance(each, list) for each in objects):
        return False
    return all(isinstance(each, dict) and "coordinates" in each for of_image in objects for each in of_image)
