"""Which format a folder is in, by its files, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from visiontasks.data.datasets.detection_folder import Format
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.recognized import EXPORT_FORMATS, read_export, recognized
from visiontasks.errors import InputError, MissingFileError

Write = Callable[..., Path]
SIZE = (8, 6)

COCO = {
    "images": [{"id": 1, "file_name": "0.png"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 4, 3]}],
    "categories": [{"id": 1, "name": "cat"}],
}
VOC = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    "</object></annotation>"
)
CVAT = (
    '<annotations><version>1.1</version><image id="0" name="0.png"><box label="cat" xtl="1" ytl="2" xbr="5" ybr="5"/>'
    "</image></annotations>"
)
LABELME = {
    "version": "5.0",
    "shapes": [{"label": "cat", "points": [[1, 2], [5, 5]], "shape_type": "rectangle"}],
    "imagePath": "0.png",
}
LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "0.png"},
        "annotations": [
            {
                "result": [
                    {
                        "type": "rectanglelabels",
                        "value": {"x": 12.5, "y": 100 / 3, "width": 50, "height": 50, "rectanglelabels": ["cat"]},
                    }
                ]
            }
        ],
    }
]
VIA = {
    "0.png1": {
        "filename": "0.png",
        "size": 1,
        "regions": [
            {
                "shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 4, "height": 3},
                "region_attributes": {"class": "cat"},
            }
        ],
    }
}
CREATE_ML = [
    {"image": "0.png", "annotations": [{"label": "cat", "coordinates": {"x": 3, "y": 3.5, "width": 4, "height": 3}}]}
]
OPEN_IMAGES = "ImageID,LabelName,XMin,XMax,YMin,YMax\n0,cat,0.125,0.625,0.3333333333,0.8333333333\n"

EXAMPLES: dict[str, tuple[dict[str, Any], str]] = {
    "coco": ({"a.json": COCO}, "COCO: a.json has the lists images, annotations, categories"),
    "voc": ({"0.xml": VOC}, "Pascal VOC: 0.xml begins with <annotation>"),
    "yolo": (
        {"classes.txt": "cat\n", "0.txt": "0 0.375 0.5833333333 0.5 0.5\n"},
        "YOLO: classes.txt has the class names and 0.txt has lines of a class and shares of the image",
    ),
    "csv": ({"a.csv": "0.png,1,2,5,5,cat\n"}, "CSV: a.csv has lines of path, x1, y1, x2, y2, class"),
    "openimages": (
        {"b.csv": OPEN_IMAGES},
        "Open Images: b.csv has the columns ImageID, LabelName, XMin, XMax, YMin, YMax",
    ),
    "labelme": ({"0.json": LABELME}, "LabelMe: 0.json has shapes and an imagePath"),
    "cvat": ({"b.xml": CVAT}, "CVAT for images: b.xml begins with <annotations>"),
    "labelstudio": ({"b.json": LABEL_STUDIO}, "Label Studio: b.json lists tasks with annotations"),
    "via": ({"c.json": VIA}, "VGG Image Annotator: c.json has images with regions"),
    "createml": ({"d.json": CREATE_ML}, "Create ML: d.json lists images with coordinates"),
}
"""The same image with the same box from 1 2 to 5 5 in each format, and by what it is recognized."""


def test_every_format_has_an_example_and_a_name() -> None:
    assert [each.name for each in EXPORT_FORMATS] == [*get_args(Format)] == [*EXAMPLES]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_format_is_recognized_alone_read_alike_and_the_reason_is_stated(name: str, read: Any) -> None:
    files, reason = EXAMPLES[name]
    found = read(files, {"0.png": SIZE})
    assert found.objects == {"train": {"0.png": ["cat 1 2 5 5"]}}
    assert found.problems == []
    assert found.export.notes[0] == f"format: {reason}"


def test_all_in_one_folder_are_recognized_and_each_is_read_when_it_is_asked_for(written: Write) -> None:
    root = written(
        {file: content for files, _ in EXAMPLES.values() for file, content in files.items()}, {"0.png": SIZE}
    )
    assert [each.name for each, _ in recognized(ExportFolder(root))] == [*EXAMPLES]
    for name in EXAMPLES:
        export = read_export(ExportFolder(root), name)
        assert [image.names for image in export.images[""] if image.path] == [["cat"]]


def test_two_formats_are_refused_with_both_and_the_option(read: Any) -> None:
    files = {**EXAMPLES["coco"][0], **EXAMPLES["labelme"][0]}
    message = (
        r"data.init_args.format: .*/ has annotations in 2 formats: COCO \(a.json has the lists images, annotations, "
        r"categories\); LabelMe \(0.json has shapes and an imagePath\); choose one with "
        r"--data.init_args.format coco or "
        "labelme, or move the others away"
    )
    with pytest.raises(InputError, match=message):
        read(files, {"0.png": SIZE})
    assert read({}, {}, "labelme").export.notes[0].startswith("format: LabelMe")


def test_a_format_that_is_asked_for_and_not_there_is_refused_with_what_is_there(read: Any) -> None:
    with pytest.raises(MissingFileError, match=r"data.init_args.format: yolo, but .*/ has Pascal VOC \(0.xml begins"):
        read(EXAMPLES["voc"][0], {"0.png": SIZE}, "yolo")


def test_a_folder_without_annotations_names_all_formats(read: Any) -> None:
    files = {"notes.txt": "two cats\n", "package.json": {"name": "x"}, "results.csv": "epoch,loss\n1,0.5\n"}
    with pytest.raises(MissingFileError) as raised:
        read(files, {"0.png": SIZE})
    assert all(f"{each.title} ({each.name})" in str(raised.value) for each in EXPORT_FORMATS)


@pytest.mark.parametrize("name", ["coco", "labelme", "labelstudio", "via", "createml"])
def test_a_json_file_that_breaks_off_is_recognized_and_named(name: str, written: Write) -> None:
    files, _ = EXAMPLES[name]
    root = written(files, {"0.png": SIZE})
    (file,) = [root / each for each in files]
    file.write_text(file.read_text()[:-2])
    ((found, match),) = recognized(ExportFolder(root))
    assert found.name == name
    if name == "labelme":  # a file for each image
        (image,) = found.read(ExportFolder(root), match).images[""]
        assert "0.json line 1: cannot be read as JSON" in str(image.problems[0])
        return
    with pytest.raises(InputError, match=rf"{file.name} line 1: cannot be read as JSON \(.*; export it again"):
        found.read(ExportFolder(root), match)


def test_formats_are_recognized_though_files_of_another_kind_lie_beside_them(read: Any) -> None:
    """Captions and detections of COCO, a requirements file, a table of results, XML of another tool."""
    captions = {**COCO, "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}
    del captions["categories"]
    files = {
        **EXAMPLES["coco"][0],
        "captions_val2017.json": captions,
        "results.json": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 4, 3], "score": 0.5}],
        "requirements.txt": "torch\n",
        "results.csv": "epoch,loss\n1,0.5\n",
        "plugin.xml": "<plugin/>",
    }
    assert read(files, {"0.png": SIZE}).objects == {"train": {"0.png": ["cat 1 2 5 5"]}}
