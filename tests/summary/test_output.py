"""A summary as table, CSV and JSON."""

import csv
import io
import json
from dataclasses import replace
from math import inf

import pytest

from visiontasks.summary import Layer, Summary, summarize_backbone, to_csv, to_json, to_table
from visiontasks.units import in_units

CONV = Layer("features.0", "Conv2d", (96, 55, 55), 290_400, 34_848, 96, 105_415_200, (11, 11), (4, 4))
DENSE = Layer("fc", "Linear", (1000,), 1000, 4_096_000, 1000, 4_096_000, (inf, inf), None)
WINDOWS = Layer("", "Swin", (7, 7), 0, 5, 0, 0, None, None)
SUMMARY = Summary((3, 227, 227), (CONV, DENSE, WINDOWS), 291_400)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (7, "7"), (999, "999"), (1000, "1.00 K"), (9_999, "10.0 K"), (290_400, "290 K"), (999_600, "1.00 M")],
)
def test_units_leave_three_digits(number: int, shown: str) -> None:
    assert in_units(number) == shown
    assert in_units(15.47e9, "B") == "15.5 GB"
    assert in_units(2e15) == "2,000 T"


def test_a_wide_table_has_exact_figures() -> None:
    lines = to_table(SUMMARY, title="alexnet", width=120).splitlines()
    assert lines[0] == "alexnet"
    rows = [" ".join(line.split()) for line in lines[2:6]]
    assert rows[0] == "layer type output activations bytes weights biases multiply-adds field stride"
    assert rows[1] == "features.0 Conv2d 96x55x55 290,400 1.16 MB 34,848 96 105,415,200 11 4"
    assert rows[2].endswith(" all -")
    assert rows[3] == "(itself) Swin 7x7 0 0 B 5 0 0 - -"


@pytest.mark.parametrize("name", ["alexnet", "resnet50", "convnextv2_atto", "vgg16"])
@pytest.mark.parametrize("width", [80, 120])
def test_lines_are_no_longer_than_the_terminal(name: str, width: int) -> None:
    lines = to_table(summarize_backbone(name), title=name, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


def test_a_narrow_table_keeps_names_and_parameters_whole() -> None:
    table = to_table(SUMMARY, title="alexnet", width=70)
    assert "features.0" in table
    assert "34,848" in table
    assert "105 M" in table
    assert "Conv2d" not in table


def test_a_name_too_long_for_the_terminal_keeps_its_ends() -> None:
    layer = replace(CONV, name="stages.3.blocks.2.attention.projection.normalization")
    table = to_table(Summary((3, 9, 9), (layer,), 0), title="", width=80)
    (line,) = [line for line in table.splitlines() if "96x55x55" in line]
    assert len(line) == 80
    assert line.startswith("stages.3.b")
    assert "normalization 96x55x55" in line


def test_totals_and_memory_follow_the_table() -> None:
    table = " ".join(to_table(SUMMARY, title="alexnet", width=120).split())
    assert "multiply-adds 109,511,200 (110 M)" in table
    assert "parameters 4,131,949: 4,130,853 weights and 1,096 biases" in table
    assert "activations 445,987 with the image (1.78 MB in float32)" in table  # 154,587 + 290,400 + 1,000
    assert "3.57 MB forward and backward" in table
    assert "33.1 MB with SGD, 49.6 MB with momentum, 66.1 MB with Adam" in table


def test_misfits_follow_the_table() -> None:
    table = " ".join(to_table(summarize_backbone("alexnet", image_size=(224, 224)), title="", width=100).split())
    assert "PyTorch rounds down in features.0: a filter of 11 with stride 4 and padding 0 does not fit 224" in table


def test_csv_has_one_line_for_each_layer() -> None:
    rows = [*csv.DictReader(io.StringIO(to_csv(SUMMARY)))]
    assert rows[0] == {
        "layer": "features.0",
        "type": "Conv2d",
        "output": "96x55x55",
        "activations": "290400",
        "activation_bytes": "1161600",
        "weights": "34848",
        "biases": "96",
        "multiply_adds": "105415200",
        "receptive_field": "11x11",
        "stride": "4x4",
        "does_not_fit": "",
    }
    assert (rows[1]["receptive_field"], rows[1]["stride"]) == ("allxall", "")
    assert rows[2]["receptive_field"] == ""
    assert len(rows) == 3


def test_json_has_layers_totals_and_memory() -> None:
    content = json.loads(to_json(SUMMARY, name="alexnet"))
    assert content["network"] == "alexnet"
    assert content["image"] == [3, 227, 227]
    assert content["layers"][0]["output"] == [96, 55, 55]
    assert content["layers"][0]["receptive_field"] == [11, 11]
    assert content["layers"][1]["receptive_field"] == ["all", "all"]
    assert content["layers"][2]["stride"] is None
    assert content["totals"]["parameters"] == 4_131_949
    assert content["memory_bytes"]["parameters"] == 4 * 4_131_949
