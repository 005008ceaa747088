"""Networks in 8-bit integers: accepted by validation images, refused with the reason, of one kind of processor."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.export import export
from visiontasks.outputs import Detections
from visiontasks.predict import int8
from visiontasks.predict.engine import missing_packages
from visiontasks.predict.int8 import Gate, processor, quantize
from visiontasks.predict.predictor import Predictor
from visiontasks.recipe.open_run import open_run
from visiontasks.tasks import ClassificationTask

needs_onnx = pytest.mark.skipif(missing_packages() != [], reason="onnx is not installed")
ACCEPTED = Gate(
    n=200,
    float_right=190,
    int8_right=189,
    p=1.0,
    moved=5,
    of=300,
    difference=0.01,
    reduced=False,
    kept=0,
    convolutions=9,
    instructions="x86_64 AVX2",
)


def test_the_gate_allows_one_point_and_two_in_a_hundred_other_classes() -> None:
    assert ACCEPTED.fault == ""
    assert replace(ACCEPTED, int8_right=188, moved=6).fault == ""  # 1 % of 200, 2 % of 300
    assert replace(ACCEPTED, int8_right=187).fault.startswith("3 of 200 validation images fewer are right, at most 2")
    assert replace(ACCEPTED, moved=7).fault.startswith("7 of 300 images get another class, at most 2%")
    assert "McNemar p = 0.01" in replace(ACCEPTED, p=0.01).fault
    assert replace(ACCEPTED, int8_right=192, p=0.01).fault == ""  # a gain
    assert replace(ACCEPTED, n=50, float_right=40, int8_right=39).fault == ""  # one image, though 2 %


@pytest.fixture
def run(tmp_path: Path, saved_run: Any) -> Path:
    """A random network, and the data that it might have seen: 40 training, 60 validation images."""
    root = tmp_path / "images"
    for split, count in (("train", 20), ("val", 30), ("test", 1)):
        for k, name in enumerate(("dark", "light")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng(i).integers(120 * k, 120 * k + 120, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    torch.manual_seed(0)
    task = ClassificationTask("test_resnet", weights="none", num_classes=2)
    with torch.no_grad():  # the brightness decides
        task.eval()
        level = [torch.full((1, 3, 32, 32), value, dtype=torch.uint8) for value in (60, 180)]
        dark, light = (task.image_features(each)[0][0] for each in level)
        task.head.linear.weight.copy_(torch.stack([dark - light, light - dark]) * 20 / (light - dark).norm() ** 2)
        task.head.linear.bias.copy_(task.head.linear.weight @ -(dark + light) / 2)
    folder: Path = saved_run(tmp_path / "run", task, {"backbone": "test_resnet"}, ["dark", "light"])
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["data"]["init_args"] |= {"root": str(root), "image_size": 32, "resize": "squash"}
    recipe |= {"trainer": {"max_epochs": 1}, "seed_everything": 0}
    path = folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path)
    checkpoint["visiontasks"]["recipe"] = yaml.safe_dump(recipe)
    torch.save(checkpoint, path)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@needs_onnx
@pytest.mark.slow
def test_an_accepted_network_is_stored_exported_and_made_again_for_another_processor(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = quantize(open_run(run))[2]
    assert (gate.fault, gate.n, gate.of, gate.float_right) == ("", 60, 100, 60)
    assert gate.instructions in (processor(), "any x86_64")

    picture = next((tmp_path / "images" / "test").rglob("*.png"))
    expected, found = (Predictor.load(run, engine=name)(picture)[0] for name in ("torch", "int8"))
    assert found.label == expected.label
    assert 0 < abs(found.probability - expected.probability) < 0.1  # type: ignore[operator]

    made = export(run, tmp_path / "exported", form="int8")
    assert json.loads((made.folder / "int8.json").read_text())["gate"]["int8_right"] == gate.int8_right
    import onnxruntime

    session = onnxruntime.InferenceSession(str(made.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["probability"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["dark", "light"]

    for name in ("processor", "_any_processor"):
        monkeypatch.setattr(int8, name, lambda: "another")
    monkeypatch.setattr(int8, "LEAST_VALIDATED", 61)
    with pytest.raises(
        InputError, match=r"at least 61 validation images, the run has 60(.|\n)*this processor is another"
    ):
        Predictor.load(run, engine="int8")


@needs_onnx
@pytest.mark.slow
def test_a_spoiled_calibration_is_refused_also_with_layers_in_float32(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantizer = int8._Quantizer

    def spoiled(content: bytes, calibration: torch.Tensor, folder: Path) -> Any:
        made = quantizer(content, calibration, folder)
        for found in made.ranges.data.values():  # in steps of 7,843 all images are alike
            found.lowest, found.highest = np.float32(-1e6), np.float32(1e6)
        return made

    monkeypatch.setattr(int8, "_Quantizer", spoiled)
    with pytest.raises(InputError, match="int8 is refused: .*, also with half of the convolutions in float32"):
        quantize(open_run(run))
    assert not (run / "engine").exists()


@needs_onnx
def test_other_tasks_than_classification_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = open_run(run)
    monkeypatch.setattr(trained.task, "outputs", Detections)
    with pytest.raises(InputError, match="int8: only classifications have a gate yet, ClassificationTask has none"):
        quantize(trained)
