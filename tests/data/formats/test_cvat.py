"""CVAT's XML for images."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import InputError

ReadExport = Callable[..., Any]
SIZE = (8, 6)
BOX = '<box label="cat" xtl="1.00" ytl="2.00" xbr="5.00" ybr="6.00" occluded="0"></box>'


def xml(*images: str) -> str:
    return f'<?xml version="1.0"?>\n<annotations><version>1.1</version><meta/>{"".join(images)}</annotations>'


def image(name: str, *shapes: str, others: str = 'width="8" height="6"') -> str:
    return f'<image id="{name[0]}" name="{name}" {others}>{"".join(shapes)}</image>'


def test_boxes_are_corners_and_of_other_shapes_the_box_around_them_is_taken(read: ReadExport) -> None:
    shapes = [
        BOX,
        '<polygon label="dog" points="1.0,1.0;6.0,2.0;3.0,5.0"/>',
        '<ellipse label="dog" cx="4" cy="3" rx="2" ry="1"/>',
        '<mask label="dog" rle="1, 2" left="1" top="2" width="3" height="4"/>',
        '<polyline label="dog" points="1,1;2,2"/>',
        '<points label="dog" points="1,1"/>',
        "<tag/>",
    ]
    found = read(
        {"annotations.xml": xml(image("0.png", *shapes), image("1.png"))}, {"images/0.png": SIZE, "images/1.png": SIZE}
    )
    assert found.objects == {
        "train": {"images/0.png": ["cat 1 2 5 6", "dog 1 1 6 5", "dog 2 2 6 4", "dog 1 2 4 6"], "images/1.png": []}
    }
    assert found.problems == []
    assert found.export.all_notes()[-1] == "annotations without an area, passed over: 1 points, 1 polyline"


def test_subsets_are_splits(read: ReadExport) -> None:
    images = [image(f"{i}.png", BOX, others=f'subset="{name}"') for i, name in enumerate(["Train", "Validation"])]
    found = read({"annotations.xml": xml(*images)}, {"0.png": SIZE, "1.png": SIZE})
    assert found.objects == {"train": {"0.png": ["cat 1 2 5 6"]}, "val": {"1.png": ["cat 1 2 5 6"]}}


def test_rotated_and_broken_shapes_are_problems_and_a_whole_turn_is_none(read: ReadExport) -> None:
    shapes = [
        BOX.replace("<box", '<box rotation="30.5"'),
        BOX.replace("<box", '<box rotation="360"'),
        '<ellipse label="dog" cx="4" cy="3" rx="2"/>',
        '<polygon label="dog" points="1.0"/>',
        '<box label="" xtl="1" ytl="2" xbr="5" ybr="6"/>',
        '<box label="cat" xtl="1" ytl="2" xbr="5" ybr="9"/>',
    ]
    found = read({"a.xml": xml(image("0.png", *shapes))}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 1 2 5 6", "cat 1 2 5 9"]
    assert found.problems == [
        "a.xml image 0 object 1: box rotated by 30.5 degrees, expected an upright one; draw an upright box, or a "
        "polygon",
        "a.xml image 0 object 3: ellipse without its numbers: label='dog' cx='4' cy='3' rx='2'; draw it anew",
        "a.xml image 0 object 4: polygon without its numbers: label='dog' points='1.0'; draw it anew",
        "a.xml image 0 object 5: has no class; correct it, or remove the object",
        "a.xml image 0 object 6: cat's box 1 2 5 9 reaches beyond its image of 8x6 pixels; cut it to the "
        "image, or draw "
        "it anew",
    ]


def test_images_that_are_missing_or_not_listed_are_problems(read: ReadExport) -> None:
    found = read({"a.xml": xml(image("0.png", BOX), image("1.png"))}, {"0.png": SIZE, "2.png": SIZE})
    assert found.problems == [
        "a.xml image 1: no image 1.png in ; copy it there, or remove its annotation",
        "2.png: no annotation in a.xml; annotate it, also where it has no object, or remove the image",
    ]


def test_tracks_of_videos_are_refused_with_the_export_to_choose(read: ReadExport) -> None:
    with pytest.raises(
        InputError, match=r"a.xml: is CVAT for video \(it has tracks\); export it as CVAT for images 1.1"
    ):
        read({"a.xml": xml('<track id="0" label="cat"><box frame="0"/></track>')}, {"0.png": SIZE})


def test_a_file_that_breaks_off_is_named_with_its_line(read: ReadExport) -> None:
    with pytest.raises(InputError, match=r"a.xml line 2: cannot be read as XML \(unclosed token at column .*"):
        read({"a.xml": xml(image("0.png"))[:-5]}, {"0.png": SIZE})
