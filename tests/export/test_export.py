"""The whole of an export, as the command does it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import nn

from visiontasks import export as package
from visiontasks.commands.main import main
from visiontasks.errors import InputError
from visiontasks.export import export, graph
from visiontasks.runs.checkpoint import unfinished
from visiontasks.runs.folder import RESULT

# in the extras dev and export, but there are no wheels of it for every Python
needs_onnx = pytest.mark.skipif(graph.missing_packages() != [], reason="onnx is not installed")
Refused = Callable[[str], str]


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    """100 soft images of 100 sizes."""
    folder = tmp_path / "hundred"
    folder.mkdir()
    for i in range(100):
        coarse = np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8)
        size = (20 + i % 37, 20 + (7 * i) % 41)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def test_the_command_writes_a_folder_and_prints_what_is_in_it(
    make_run: Callable[..., Path], in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(make_run().parent), "out"]) == 0
    output = capsys.readouterr().out
    assert "model.safetensors" in output
    assert "checked: On 3 stored images (made ones, since the run's data is not here)" in output
    assert f"written: {in_tmp / 'out'}" in output


@pytest.mark.parametrize("form", ["folder", "torch-export", "onnx"])
def test_a_folder_that_holds_something_is_refused_and_left(
    form: str, make_run: Callable[..., Path], refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    message = refused(f"export {make_run()} {tmp_path / 'out'} --format {form}")
    assert "out is not empty: give a folder that is not there yet" in message
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert "is a file" in refused(f"export {make_run()} {tmp_path / 'out' / 'mine.txt'}")


def test_an_empty_folder_is_filled(make_run: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "config.json" in export(make_run(), tmp_path / "out").files


def test_an_export_that_fails_leaves_nothing(
    make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **options: Any) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr(package, "model_card", broken)
    before = sorted(path.name for path in tmp_path.iterdir())
    run = make_run()
    with pytest.raises(OSError, match="the disk is full"):
        export(run, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "runs"])


def test_what_a_killed_export_left_is_replaced(make_run: Callable[..., Path], tmp_path: Path) -> None:
    left = unfinished(tmp_path / ".out")
    left.mkdir()
    (left / "half.bin").write_text("half")
    (tmp_path / ".out.export.tmp").mkdir()  # of the user's own
    files = export(make_run(), tmp_path / "out").files
    assert "half.bin" not in files
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.export.tmp", "out", "runs"]


@pytest.mark.slow
@pytest.mark.parametrize("form", [pytest.param("onnx", marks=needs_onnx), "torch-export"])
@pytest.mark.parametrize("kind", ["ClassificationTask", "LocalizationTask", "SegmentationTask"])
def test_a_graph_is_compared_on_a_hundred_images(
    kind: str, form: str, make_run: Callable[..., Path], hundred: Path, tmp_path: Path
) -> None:
    made = export(make_run(kind, resize="letterbox"), tmp_path / "out", form=form, images=hundred)
    figures = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert (figures["images"], figures["flips"]) == (100, 0)
    assert "100 images (of hundred)" in made.checked
    name = {"onnx": "model.onnx", "torch-export": "model.pt2"}[form]
    facts = {"README.md", "agreement.json", "classes.json", "metrics.json", "preprocessing.json", "recipe.yaml"}
    assert set(made.files) == {name, *facts}


@pytest.mark.slow
def test_what_a_full_decode_changes_of_large_jpegs_is_stated(
    make_run: Callable[..., Path], hundred: Path, tmp_path: Path
) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(coarse).resize((960, 720), Image.Resampling.BICUBIC).save(hundred / "large.jpg", quality=95)
    made = export(make_run(), tmp_path / "out", form="torch-export", images=hundred)
    figures = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert (figures["images"], figures["end_to_end"]["images"]) == (101, 1)
    assert figures["probability"] < 1e-4 < figures["end_to_end"]["probability"]
    statement = (
        "on the same pixels. `visiontasks predict` decodes 1 of these files at 1/2 to 1/8; its answers against "
        f"model.pt2's on a full decode: {figures['end_to_end']['flips']} of 1 classes differ"
    )
    assert statement in made.checked
    assert statement in (tmp_path / "out" / "README.md").read_text()
    facts = json.loads((tmp_path / "out" / "preprocessing.json").read_text())
    assert facts["decoding"].startswith("in full, but for JPEG files: `visiontasks predict` and `evaluate`")


@pytest.mark.slow
def test_a_graph_that_predicts_something_else_is_refused_and_leaves_nothing(
    make_run: Callable[..., Path], hundred: Path, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = package.run_program

    def mirrored(path: Path) -> Any:
        run = load(path)
        return lambda image: run(np.ascontiguousarray(image[:, :, ::-1, ::-1]))

    monkeypatch.setattr(package, "run_program", mirrored)
    message = refused(f"export {make_run()} {tmp_path / 'out'} --format torch-export --images {hundred}")
    assert "model.pt2 does not predict what the run's evaluation predicts, so nothing was written" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hundred", "runs"]


@torch.library.custom_op("visiontasks_tests::halved", mutates_args=())
def halved(values: torch.Tensor) -> torch.Tensor:
    """An operator of which torch knows only what it does, not what shape it gives."""
    return values / 2


def in_double(values: torch.Tensor) -> torch.Tensor:
    """A convolution of float64, which ONNX has, but not onnxruntime."""
    return F.conv2d(values.double(), torch.ones(1, values.shape[1], 1, 1, dtype=torch.float64)).float()


class Odd(nn.Module):
    """A layer with an operator behind it."""

    def __init__(self, layer: nn.Module, operator: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer = layer
        self.operator = operator

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = self.layer(values)
        return values + self.operator(values[..., :2, :2]).real.mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "operator", "message"),
    [
        ("torch-export", halved, r"torch.export cannot make a graph of ClassificationTask with test_resnet.*halved"),
        pytest.param("onnx", halved, r"torch.export cannot make a graph of .*halved", marks=needs_onnx),
        pytest.param("onnx", torch.linalg.eigvals, r"cannot be written as ONNX: .*eig", marks=needs_onnx),
        pytest.param("onnx", in_double, r"onnxruntime cannot load model.onnx: .*Conv", marks=needs_onnx),
    ],
    ids=["program-of-own", "onnx-of-own", "onnx-eigvals", "onnxruntime-double"],
)
def test_an_operator_that_no_graph_has_is_one_message_and_leaves_nothing(
    form: str,
    operator: Callable[[torch.Tensor], torch.Tensor],
    message: str,
    make_run: Callable[..., Path],
    hundred: Path,
    refused: Refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = package.open_run

    def with_odd_layer(run: str | Path) -> Any:
        trained = load(run)
        net: Any = trained.task.backbone
        net.conv1 = Odd(net.conv1, operator)
        return trained

    monkeypatch.setattr(package, "open_run", with_odd_layer)
    found = refused(f"export {make_run()} {tmp_path / 'out'} --format {form} --images {hundred}")
    assert re.search(message, found)
    assert "Export it as --format folder" in found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hundred", "runs"]


def test_too_few_images_are_refused(
    make_run: Callable[..., Path], pictures: Path, refused: Refused, tmp_path: Path
) -> None:
    message = refused(f"export {make_run()} {tmp_path / 'out'} --format torch-export --images {pictures}")
    assert (
        "6 images of pictures are too few to compare on: give a folder with at least 100 (--images FOLDER)" in message
    )


def test_a_run_whose_data_is_gone_asks_for_images(
    make_run: Callable[..., Path], refused: Refused, tmp_path: Path
) -> None:
    message = refused(f"export {make_run()} {tmp_path / 'out'} --format torch-export")
    assert "the run's data is not here to compare on" in message
    assert "--images FOLDER" in message


def test_without_onnx_the_command_names_what_installs_it(
    make_run: Callable[..., Path], refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "missing_packages", lambda: ["onnx", "onnxscript"])
    message = refused(f"export {make_run()} {tmp_path / 'out'} --format onnx")
    assert "--format onnx needs onnx, onnxscript: pip install 'visiontasks[export]'" in message


def test_a_run_without_a_checkpoint_or_a_folder_that_is_not_a_run_is_named(refused: Refused, tmp_path: Path) -> None:
    assert "no run in" in refused(f"export {tmp_path / 'gone'} {tmp_path / 'out'}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("{}")
    assert "has no checkpoints/best.ckpt" in refused(f"export {tmp_path / 'run'} {tmp_path / 'out'}")


def test_a_run_that_was_not_measured_is_exported_with_a_note(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run()
    (run / RESULT).unlink()
    export(run, tmp_path / "out")
    assert "This run was not measured" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {}


def test_a_name_that_the_hub_does_not_take_is_refused_before_anything_is_written(
    make_run: Callable[..., Path], refused: Refused, tmp_path: Path
) -> None:
    run = make_run()
    for name in ("a/b/c", "''"):  # such as an unset variable in quotes
        assert "--push-to-hub" in refused(f"export {run} {tmp_path / 'out'} --push-to-hub {name}")
    assert not (tmp_path / "out").exists()


def test_the_card_has_a_block_for_the_hub_metrics_counts_and_licenses(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    export(make_run(), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    block = yaml.safe_load(card.split("---\n")[1])
    assert (block["library_name"], block["pipeline_tag"]) == ("timm", "image-classification")
    assert "visiontasks" in block["tags"]
    (result,) = block["model-index"][0]["results"]
    assert result["metrics"][0] == {"type": "top1", "value": 0.9} | result["metrics"][0]
    assert "| test/top1 | 0.9000 | 0.7696 - 0.9604 | 40 |" in card
    assert "train 100, val 20, test 40 images" in card
    assert "- data: ImageFolder of `photos`" in card
    assert "its license decides" in card
    assert "torch 2.15.0" in card
    assert "`ant`, `bee`, `cow`" in card


def test_export_of_a_wrong_folder_of_images_is_one_message(make_run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        export(make_run(), tmp_path / "out", images=tmp_path / "gone")
