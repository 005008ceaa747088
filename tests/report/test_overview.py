"""What a report tells of the result: baseline, previous run, metrics; and of data, weights and how to repeat it."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from tests.report.conftest import entry
from visiontasks.report import Previous, RunContent, run_page

MadeRuns = dict[str, Callable[[], RunContent]]


@pytest.fixture
def text_of() -> Callable[..., str]:
    """`text_of(content, task=...)`: the text of a report, some of whose result is changed."""

    def text(content: RunContent, **changes: Any) -> str:
        page = run_page(replace(content, result={**content.result, **changes}))
        return " ".join(unescape(re.sub("<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())

    return text


def baseline(value: float) -> dict[str, Any]:
    return {"name": "majority class", "meaning": "always ant", "metrics": {"test/top1": value}}


def test_the_baseline_stands_below_the_result(made_runs: MadeRuns, text_of: Any) -> None:
    text = text_of(made_runs["two_classes"](), baseline=baseline(0.55))
    assert "Baseline, majority class: 55.0 % (always ant)." in text
    assert "metric value 95 % interval baseline n" in text
    assert "not beat" not in text


@pytest.mark.parametrize("value", [0.9, 0.95])
def test_a_training_that_does_not_beat_the_baseline_is_warned_of(
    value: float, made_runs: MadeRuns, text_of: Any
) -> None:
    text = text_of(made_runs["two_classes"](), baseline=baseline(value))
    assert f"({'always ant'}). This training does not beat it." in text


def test_less_is_better_for_a_loss_of_the_baseline(made_runs: MadeRuns, text_of: Any) -> None:
    metrics = {"test/loss": entry("loss", value=0.31, n=200)}
    common = {"metrics": metrics, "headline": "loss"}
    beaten, not_beaten = (
        text_of(made_runs["two_classes"](), **common, baseline={"name": "prior", "metrics": {"test/loss": value}})
        for value in (0.69, 0.3)
    )
    assert "not beat" not in beaten
    assert "This training does not beat it." in not_beaten


def test_an_error_that_is_one_minus_another_metric_is_left_out(made_runs: MadeRuns, text_of: Any) -> None:
    metrics = {
        "test/top1": entry("top1", value=0.9, n=200, count=180),
        "test/top1_error": entry("top1_error", value=0.1, n=200, count=20),
        "test/top5_error": entry("top5_error", value=0.01, n=200, count=2),
    }
    text = text_of(made_runs["two_classes"](), metrics=metrics)
    assert "top1_error" not in text
    assert "test/top5_error" in text  # without its counterpart


def test_the_previous_run_is_compared(made_runs: MadeRuns, text_of: Any) -> None:
    previous = Previous(
        "runs/made/2025", {"test/top1": 0.85, "test/loss": 0.5}, ["p = 0.14."], [("trainer.max_epochs", "4", "8")]
    )
    text = text_of(replace(made_runs["two_classes"](), previous=previous))
    assert "Compared with the previous run of this recipe runs/made/2025" in text
    assert "test/top1 0.8500 0.9000 +0.0500 test/loss 0.5000 0.3100 -0.1900" in text
    assert "p = 0.14. recipe key previous this run trainer.max_epochs 4 8" in text
    same = text_of(replace(made_runs["two_classes"](), previous=replace(previous, recipe=[])))
    assert "Both have the same recipe." in same


def test_a_training_loss_above_the_validation_loss_is_explained(made_runs: MadeRuns, text_of: Any) -> None:
    content = made_runs["two_classes"]()
    assert "The training loss lies above" not in text_of(content)  # it is 0.25, of the validation 0.275
    above = [{**row, "train/loss": 2 * row["train/loss"]} for row in content.history]
    assert "That is normal: training images are augmented, dropout, if" in text_of(replace(content, history=above))
    smoothed = {**content.recipe, "data": {}, "model": {"init_args": {"label_smoothing": 0.1}}}
    text = text_of(replace(content, history=above, recipe=smoothed))
    assert "That is normal: label smoothing raises the training loss, dropout, if" in text
    assert "augmented" not in text


def test_classes_are_counted_in_each_split(made_runs: MadeRuns, text_of: Any) -> None:
    content = made_runs["boxes"]()
    data = {"splits": {"test": 6, "train": 20}, "skipped": {}, "classes": []}
    counts = {"unit": "objects", "splits": {"train": [1500, 7], "test": [3, 4]}}
    assert "Objects of each class class train test ant 1,500 3 bee 7 4" in text_of(
        content, data={**data, "class_counts": counts}
    )
    pixels = {"unit": "pixels", "splits": {"train": [75, 25], "test": [0, 0]}, "sampled": {"train": 10}}
    text = text_of(content, data={**data, "class_counts": pixels})
    assert "Share of labelled pixels, train: of 10 images class train test ant 75.0 % 0.0 % bee 25.0 % 0.0 %" in text


def test_the_command_that_repeats_the_run_can_be_copied(made_runs: MadeRuns, text_of: Any) -> None:
    content = replace(made_runs["two_classes"](), run="runs/my photos/2026")
    text = text_of(content, versions={"visiontasks": "1.2.3"})
    assert "visiontasks finetune 'runs/my photos/2026/recipe.yaml'" in text
    assert "(visiontasks 1.2.3, seed 0)" in text


def test_weights_are_where_they_came_from(made_runs: MadeRuns, text_of: Any) -> None:
    content = replace(made_runs["two_classes"](), weights="of the folder weights/mobilenet")
    assert "weights of the folder weights/mobilenet" in text_of(content)


def test_pictures_enlarge_and_name_their_file(made_runs: MadeRuns) -> None:
    page = run_page(made_runs["boxes"]())
    assert page.count('<label class="zoom">') == page.count("<figure>") == 12
    assert page.count('<span class="title">3.jpg</span>') == 1
    assert 'aria-label="enlarge 3.jpg"' in page


def test_the_training_batch_has_a_section_with_its_annotations(made_runs: MadeRuns, text_of: Any) -> None:
    content = made_runs["boxes"]()
    (pictures,) = content.pictures.values()
    training = [replace(picture, prediction=None, score=None, true_label="ant") for picture in pictures[:3]]
    text = text_of(replace(content, pictures={}, training=training))
    assert "Training batch The first images of epoch 1 as the network gets them" in text
    assert text.count("label: ant") == 3
