"""Exported folders, loaded by this package, by timm alone, and by the lines of their own README."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from visiontasks.data import read_image
from visiontasks.errors import InputError, MissingFileError
from visiontasks.export import export
from visiontasks.export import folder as folder_module
from visiontasks.export.agreement import evaluate
from visiontasks.export.folder import load_exported, without_folders
from visiontasks.finetuning.features import fingerprint
from visiontasks.outputs import ClassScores
from visiontasks.recipe.open_run import KNOWN_IMAGES_FILE, open_run
from visiontasks.tasks.calibration import Calibration
from visiontasks.tasks.known_images import KnownImages

KINDS = [  # the graph of the last two takes seconds
    "ClassificationTask",
    pytest.param("LocalizationTask", marks=pytest.mark.slow),
    pytest.param("SegmentationTask", marks=pytest.mark.slow),
]
MLP = {"class_path": "visiontasks.heads.MLPHead", "init_args": {"hidden_features": [7]}}


def squashed(kind: str) -> dict[str, Any]:
    return {"kind": kind, "resize": "letterbox" if kind in ("DetectionTask", "SegmentationTask") else "squash"}


@pytest.fixture
def make_folder(make_run: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """`run, folder = make_folder("ClassificationTask", ...)`."""

    def make(*args: Any, **options: Any) -> tuple[Path, Path]:
        run = make_run(*args, **options)
        export(run, tmp_path / "out")
        return run, tmp_path / "out"

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_loads_to_the_same_weights(kind: str, make_folder: Callable[..., Any]) -> None:
    run, folder = make_folder(**squashed(kind))
    before, after = open_run(run), load_exported(folder)
    expected, found = before.task.state_dict(), after.task.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert (after.class_names, after.image_size, after.resize) == (before.class_names, before.image_size, before.resize)
    assert after.normalization == before.normalization
    assert not after.task.training


@pytest.mark.parametrize(
    "options",
    [
        {"in_chans": 1},
        pytest.param({"head": MLP}, marks=pytest.mark.slow),
        pytest.param({"backbone": "resnet20_cifar"}, marks=pytest.mark.slow),
        {"resize": "keep"},
    ],
)
def test_other_networks_and_heads_load_too(options: dict[str, Any], make_folder: Callable[..., Any]) -> None:
    run, folder = make_folder(**options)
    image = read_image(folder / "check" / "1.png")
    expected, found = (evaluate(t, image).output for t in (open_run(run), load_exported(folder)))
    assert isinstance(expected, ClassScores)
    assert isinstance(found, ClassScores)
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-6)
    assert (folder / "head.safetensors").is_file() == ("head" in options)


def test_timm_alone_gives_the_logits_of_a_linear_head(make_folder: Callable[..., Any]) -> None:
    run, folder = make_folder()
    task = open_run(run).task
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    image = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(model(image), task(image))
    assert model.pretrained_cfg["label_names"] == ["ant", "bee", "cow"]
    assert tuple(model.pretrained_cfg["input_size"]) == (3, 32, 48)
    assert model.pretrained_cfg["crop_mode"] == "center"


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "mobilenetv3_small_050"])
@pytest.mark.parametrize("kind", KINDS)
def test_timm_alone_gives_the_feature_maps(kind: str, backbone: str, make_folder: Callable[..., Any]) -> None:
    run, folder = make_folder(**squashed(kind), backbone=backbone)
    net = open_run(run).task.backbone
    pyramid = timm.create_model(f"local-dir:{folder}", pretrained=True, features_only=True).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = pyramid(image)
        expected = net(image) if kind == "SegmentationTask" else net.forward_intermediates(image)[1]
    assert len(maps) == len(expected)
    for found, right in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


def test_what_lies_in_a_folder(make_folder: Callable[..., Any], pictures: Path) -> None:
    _, folder = make_folder(root=pictures)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    stored = {f"check/{i}{what}.png" for i in (1, 2, 3) for what in ("", "_input")}
    facts = {"classes.json", "preprocessing.json", "metrics.json", "recipe.yaml", "check.json", "README.md"}
    assert files == {"config.json", "model.safetensors", *facts, *stored}
    assert json.loads((folder / "classes.json").read_text()) == ["ant", "bee", "cow"]
    assert json.loads((folder / "metrics.json").read_text())["metrics"]["test/top1"]["count"] == 36
    rule = json.loads((folder / "preprocessing.json").read_text())
    assert (rule["resize"]["policy"], rule["resize"]["height"], rule["resize"]["width"]) == ("crop", 32, 48)
    assert rule["value_range"] == [0, 255]
    assert rule["mean"] == [0.5, 0.5, 0.5] or len(rule["mean"]) == 3
    assert read_image(folder / "check" / "1_input.png").shape == (32, 48, 3)


@pytest.mark.parametrize("options", [{}, {"head": MLP}], ids=str)
def test_the_temperature_is_in_the_folder_and_in_its_predictions(
    options: dict[str, Any], make_folder: Callable[..., Any]
) -> None:
    """Of 4, by which the probabilities of random weights become plainly more even."""
    run, folder = make_folder(**options, calibration=Calibration(4.0, torch.linspace(0.1, 0.9, 19)))
    stored = json.loads((folder / "calibration.json").read_text())
    assert (stored["temperature"], stored["formula"]) == (4.0, "probability = softmax(logits / temperature)")
    loaded = load_exported(folder).task.calibration
    assert loaded is not None
    assert loaded.least_probability(0.9) == pytest.approx(open_run(run).task.calibration.least_probability(0.9))
    entry = json.loads((folder / "check.json").read_text())["images"][0]
    logits = open_run(run).task.raw_output(
        {"image": torch.from_numpy(read_image(folder / entry["input"])).permute(2, 0, 1)[None]}
    )
    torch.testing.assert_close(torch.tensor(entry["probability"]), (logits / 4).softmax(1)[0].detach())
    assert not torch.allclose(torch.tensor(entry["probability"]), logits.softmax(1)[0], atol=1e-3)


def test_what_training_images_look_like_is_in_the_folder(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Stored in the run by an earlier request, so that its data is not needed."""
    run = make_run()
    trained = open_run(run)
    width = trained.task.head.linear.in_features
    known = KnownImages.fit(torch.randn(12, width), torch.randn(30, width))
    key = fingerprint(trained.task, trained.task.modules(), [trained.image_size, trained.resize])
    safetensors.torch.save_file(known.to_tensors(), run / KNOWN_IMAGES_FILE, {"key": key})
    export(run, tmp_path / "out", unknown=True)
    loaded = load_exported(tmp_path / "out")
    assert torch.equal(loaded.task.known_images.distances, known.distances)
    entry = json.loads((tmp_path / "out" / "check.json").read_text())["images"][0]
    assert 1 / 31 <= entry["p_known"] <= 1
    with pytest.raises(InputError, match="--unknown: int8 features differ"):
        export(run, tmp_path / "int8", form="int8", unknown=True)


def test_recipes_hold_no_folders_of_this_machine(make_folder: Callable[..., Any]) -> None:
    _, folder = make_folder()
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert recipe["data"]["init_args"]["root"] == "photos"
    everything = "".join(path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".md", ".yaml"))
    assert "/nowhere" not in everything
    assert without_folders({"a": ["local-dir:/x/net", "/x/y.pth", "rel/z", 3]}) == {
        "a": ["local-dir:net", "y.pth", "rel/z", 3]
    }


def test_stored_images_are_made_where_the_data_is_gone(make_folder: Callable[..., Any]) -> None:
    _, folder = make_folder()
    entries = json.loads((folder / "check.json").read_text())["images"]
    assert [entry["source"] for entry in entries] == ["made 1", "made 2", "made 3"]
    assert "made ones, since the run's data is not here" in (folder / "README.md").read_text()


def test_a_large_image_is_stored_smaller(make_run: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    Image.new("RGB", (3000, 1500), "red").save(tmp_path / "large" / "a.png")
    export(make_run(), tmp_path / "out", images=tmp_path / "large")
    assert read_image(tmp_path / "out" / "check" / "1.png").shape == (512, 1024, 3)


@pytest.mark.parametrize("kind", [*KINDS, pytest.param("DetectionTask", marks=pytest.mark.slow)])
def test_weights_that_were_altered_are_found_by_loading(kind: str, make_folder: Callable[..., Any]) -> None:
    _, folder = make_folder(**squashed(kind))
    path = folder / "model.safetensors"
    altered = {name: tensor * 1.5 if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}
    save_file(altered, path)
    with pytest.raises(InputError, match="predicts something else for check/1.png than when it was written"):
        load_exported(folder)


def test_a_stored_prediction_that_was_altered_is_found(make_folder: Callable[..., Any]) -> None:
    _, folder = make_folder()
    check = json.loads((folder / "check.json").read_text())
    check["images"][1]["probability"] = [0.2, 0.3, 0.5]
    (folder / "check.json").write_text(json.dumps(check))
    with pytest.raises(InputError, match=r"check/2.png .*probability differs by 0"):
        load_exported(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "check.json", "classes.json"])
def test_a_missing_file_is_named(name: str, make_folder: Callable[..., Any]) -> None:
    _, folder = make_folder()
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=name):
        load_exported(folder)


@pytest.mark.parametrize(
    ("name", "content"), [("preprocessing.json", "{}"), ("check.json", "[]"), ("classes.json", "?")]
)
def test_a_file_of_other_content_is_one_message(name: str, content: str, make_folder: Callable[..., Any]) -> None:
    _, folder = make_folder()
    (folder / name).write_text(content)
    with pytest.raises(InputError, match="is not"):
        load_exported(folder)


@pytest.mark.slow
def test_a_graph_in_the_folder_that_predicts_something_else_is_refused(
    make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = folder_module.run_program

    def mirrored(path: Path) -> Any:
        run = load(path)
        return lambda image: run(np.ascontiguousarray(image[:, :, ::-1, ::-1]))

    monkeypatch.setattr(folder_module, "run_program", mirrored)
    with pytest.raises(InputError, match="model.pt2 does not predict what the run's evaluation predicts"):
        export(make_run("LocalizationTask"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"kind": "ClassificationTask"},
        {"kind": "ClassificationTask", "in_chans": 1, "calibration": Calibration(4.0, torch.ones(3))},
        {"kind": "ClassificationTask", "head": MLP},
        {"kind": "ClassificationTask", "backbone": "resnet20_cifar", "calibration": Calibration(4.0, torch.ones(3))},
        {"kind": "LocalizationTask"},
        {"kind": "SegmentationTask", "resize": "letterbox"},
        {"kind": "DetectionTask", "resize": "letterbox"},
    ],
    ids=str,
)
def test_the_lines_of_the_readme_check_the_folder_without_this_package(
    options: dict[str, Any], make_folder: Callable[..., Any]
) -> None:
    _, folder = make_folder(**options)
    lines = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert "visiontasks" not in lines
    done = without_this_package(lines, folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    spoil_answers(folder)
    assert "AssertionError" in without_this_package(lines, folder).stderr


def without_this_package(lines: str, folder: Path) -> subprocess.CompletedProcess[str]:
    lines = f"import sys; sys.modules['visiontasks'] = None\n{lines}"
    return subprocess.run(
        [sys.executable, "-c", lines], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def spoil_answers(folder: Path) -> None:
    """Store other answers than those that were given."""
    check = json.loads((folder / "check.json").read_text())
    for stored in check["images"]:
        entry = stored.get("graph", stored)
        for name in {"probability", "box"} & entry.keys():
            entry[name] = [value + 1 for value in entry[name]]
        if "boxes" in entry:
            entry["boxes"] = [[x1 + 1, y1, x2 + 1, y2] for x1, y1, x2, y2 in entry["boxes"]]
        if "mask" in entry:
            mask = np.array(Image.open(folder / entry["mask"]))
            Image.fromarray((mask + 1) % 3).save(folder / entry["mask"])
    (folder / "check.json").write_text(json.dumps(check))
