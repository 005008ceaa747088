"""The whole page of each kind of run: what stands in it, that it is one file, and that names stay text."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from visiontasks.report import GradCams, RunContent, run_page

MadeRuns = dict[str, Callable[[], RunContent]]
HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "input"}
KINDS = ["two_classes", "ten_classes", "hundred_classes", "boxes", "masks", "killed", "nothing"]


class Page(HTMLParser):
    """Tags, attributes, headings; every element has to be closed where it was opened."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_is_one_well_formed_file_that_asks_for_nothing(kind: str, made_runs: MadeRuns) -> None:
    content = run_page(made_runs[kind]())
    assert len(content.encode()) < 10_000_000
    page = Page(content)
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert "url(" not in attributes.get("style", "")
    assert "nan" not in re.sub(r"data:[^\"]+", "", content).lower()


def test_a_classifiers_report_has_all_that_was_promised(made_runs: MadeRuns) -> None:
    page = Page(run_page(made_runs["ten_classes"]()))
    assert page.headings == [
        "Result",
        "Training",
        "The most confident mistakes",
        "What the network looks at",
        "Explained images",
        "Confusion matrix",
        "Precision and recall of each class",
        "Thresholds",
        "Calibration: under-confident (72 % sure on average, 86 % right)",
        "Data",
        "Where the time went",
        "Recipe",
    ]
    for said in (
        "90.0 %",
        "180 of 200, 95 % interval 85.1 % to 93.4 %",
        "1: epochs 1 to 2, head only, backbone frozen, 3.0 s; 2: epochs 3 to 5, head and the 2 deepest stages of the "
        "backbone, images of 160 px, 15.0 s; 3: epochs 6 to 8, head and the 2 deepest stages of the backbone, 25.0 s",
        "The dashed line marks epoch 5, the best by val/top1",
        "backbone.layer1 to backbone.layer2 (2)",
        'true: <script>alert(1)</script>, predicted: a name with & and "quotes" (99.0 %)',
        "Guo et al.",
        "Expected calibration error (ECE): 0.",
        "precision",
        "support",
        "forward and backward",
        "before and after the training",
        "resnet18.a1_in1k",
        "SGD (lr 0.05, momentum 0.9)",
        "HorizontalFlip",
        "2.15.0",
        "<script>alert(1)</script>",
    ):
        assert said in page.text, said


def test_the_classes_of_many_are_shown_worst_first_and_all_on_a_click(made_runs: MadeRuns) -> None:
    page = Page(run_page(made_runs["hundred_classes"]()))
    assert "The 10 worst" in page.text
    assert "All 100 classes" in page.text
    assert page.text.count("class number 99") >= 3  # in the matrix and in the table


def test_a_report_of_boxes_has_the_iou_of_the_images(made_runs: MadeRuns) -> None:
    page = Page(run_page(made_runs["boxes"]()))
    assert page.headings[:4] == ["Result", "Training", "IoU by image and class", "The 12 worst of the test split"]
    assert "49 annotated images" in page.text
    assert "predicted box, dashed" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 12


def test_a_report_of_masks_has_the_iou_of_each_class(made_runs: MadeRuns) -> None:
    page = Page(run_page(made_runs["masks"]()))
    assert "0.3200" in page.text
    assert "pixel_accuracy" in page.text
    assert re.search(r"<script>alert\(1\)</script>\s*\u2013", page.text)  # a class that does not occur


def test_a_report_of_masks_counts_pixels_by_true_and_predicted_class(made_runs: MadeRuns) -> None:
    page = Page(run_page(made_runs["masks"]()))
    assert {"Confusion matrix", "Precision and recall of each class"} < set(page.headings)
    assert re.search(r"background\s*road\s*5\.00 %\s*5\.3 %", page.text)  # 5,000 of 100,000 and of 95,000
    assert re.search(r"road\s*0\.3750\s*0\.6000\s*0\.4615\s*5,000\s", page.text)  # 3,000 of 8,000 called so, of 5,000
    assert "Support: number of pixels of the class." in page.text


def test_masks_whose_pixels_nobody_counted_have_the_report_that_they_had(made_runs: MadeRuns) -> None:
    page = Page(run_page(replace(made_runs["masks"](), pixels=None)))
    assert "IoU by image and class" in page.headings
    assert "Confusion matrix" not in page.headings


def test_a_report_of_a_killed_run_says_so_and_shows_its_curves(made_runs: MadeRuns) -> None:
    page = Page(run_page(made_runs["killed"]()))
    assert page.headings == ["Training"]
    assert "This report is partial" in page.text


def test_pictures_that_do_not_fit_are_left_out_and_counted(made_runs: MadeRuns, monkeypatch: Any) -> None:
    monkeypatch.setattr("visiontasks.report.examples.MOST_BYTES", 30_000)
    page = Page(run_page(made_runs["two_classes"]()))
    shown = sum(tag == "img" for tag, _ in page.tags)
    others = 2 * 6 + 1 + 2  # of what the network looks at, and explained ones
    assert 1 <= shown - others < 24
    assert f"{24 + others - shown} more would make this page too large" in page.text


def test_explained_images_fill_what_the_others_leave(made_runs: MadeRuns, monkeypatch: Any) -> None:
    content = made_runs["two_classes"]()
    (one,) = content.explained
    alone = RunContent(name="a", run="b", split="test", explained=[replace(one, name=f"image {k}") for k in range(9)])
    whole = Page(run_page(alone))
    assert sum(tag == "img" for tag, _ in whole.tags) == 18
    row = (len(run_page(alone)) - len(run_page(replace(alone, explained=[])))) // 9
    monkeypatch.setattr("visiontasks.report.page.MOST_BYTES", 4 * row)
    page = Page(run_page(alone))
    assert 2 * 3 <= sum(tag == "img" for tag, _ in page.tags) <= 2 * 4
    assert "image 0" in page.text  # the newest ones stay
    assert "more would make this page too large" in page.text


def test_what_a_network_looks_at_stands_beside_the_image_and_names_the_class(made_runs: MadeRuns) -> None:
    content = made_runs["ten_classes"]()
    page = Page(run_page(RunContent(name="a", run="b", split="test", grad_cams=content.grad_cams)))
    assert page.headings == ["What the network looks at"]
    names = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert names[:2] == [f"{HOSTILE}_0.jpg", f"Grad-CAM of {content.class_names[1]}"]
    assert len(names) == 13
    assert f"Grad-CAM of {content.class_names[1]}" in page.text
    assert "64 filters of 7x7, each scaled from its smallest weight" in page.text


def test_a_network_without_a_map_has_a_line_instead() -> None:
    page = Page(run_page(RunContent(name="a", run="b", split="test", grad_cams=GradCams(note="It cannot be drawn."))))
    assert page.headings == ["What the network looks at"]
    assert "It cannot be drawn." in page.text
    assert "Grad-CAM" not in page.text


def test_a_tiny_image_is_stored_as_it_is(made_runs: MadeRuns) -> None:
    content = made_runs["two_classes"]()
    picture = next(iter(content.pictures.values()))[0]
    small = type(picture)(picture.image[:8, :8].copy(), name="8x8")
    page = Page(run_page(RunContent(name="a", run="b", split="test", pictures={"Tiny": [small]})))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["class"] == "tiny"
    assert image["src"].startswith("data:image/png;base64,")


def test_a_sample_without_a_file_is_called_one(made_runs: MadeRuns) -> None:
    picture = made_runs["two_classes"]().pictures["The most confident mistakes"][0]
    shown = {"Some": [replace(picture, name="1118"), replace(picture, name="1118.png")]}
    page = Page(run_page(RunContent(name="a", run="b", split="test", pictures=shown)))
    assert "sample 1118true: " in page.text
    assert "sample 1118.png" not in page.text


@pytest.mark.parametrize(
    ("names", "said"), [(["raccoon"], "1 class: raccoon"), (["ant", "bee"], "2 classes: ant, bee")]
)
def test_the_classes_are_counted(names: list[str], said: str, made_runs: MadeRuns) -> None:
    assert said in Page(run_page(replace(made_runs["boxes"](), class_names=names, scored=None))).text


def test_intervals_are_explained_where_there_are_any(made_runs: MadeRuns) -> None:
    assert "95 % interval" in Page(run_page(made_runs["boxes"]())).text
    of_masks = Page(run_page(made_runs["masks"]())).text
    assert "interval" not in of_masks
    assert "The IoU of an image is the mean over the classes in it" in of_masks
