"""Tasks as graphs: predictions of `Deployed` and of its two file formats, beside those of the run's evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.export import graph
from visiontasks.export.agreement import evaluate
from visiontasks.export.graph import Deployed, run_onnx, run_program, save_onnx, save_program, trace
from visiontasks.recipe.open_run import FinishedRun
from visiontasks.tasks.calibration import Calibration
from visiontasks.tasks.known_images import KnownImages

CASES = [
    ("ClassificationTask", "crop"),
    ("ClassificationTask", "keep"),
    ("LocalizationTask", "squash"),
    ("LocalizationTask", "crop"),
    ("SegmentationTask", "letterbox"),
    ("SegmentationTask", "squash"),
    ("SegmentationTask", "keep"),
]
# in the extras dev and export, but there are no wheels of it for every Python
needs_onnx = pytest.mark.skipif(graph.missing_packages() != [], reason="onnx is not installed")
FORMATS = [pytest.param("onnx", marks=needs_onnx), "program"]
SIZES = [(40, 60), (61, 37), (33, 48), (90, 91), (200, 20)]

Make = Callable[..., FinishedRun]
Photo = Callable[..., UInt8Array]
Check = Callable[..., None]


@pytest.fixture
def check(answer: Callable[..., dict[str, Any]], photo: Photo) -> Check:
    """Within what one grey level in a few pixels makes of a tiny random network."""

    def compare(run: Any, trained: FinishedRun, sizes: list[tuple[int, int]] = SIZES) -> None:
        for height, width in sizes:
            image = photo(height, width)
            expected = answer(trained, image)
            found = {name: np.asarray(values)[0] for name, values in run(image[None]).items()}
            assert list(found) == list(expected)
            for name, values in expected.items():
                assert found[name].shape == values.shape
                assert found[name].dtype == values.dtype
                if name == "mask":
                    assert (found[name] == values).mean() > 0.99
                else:
                    np.testing.assert_allclose(found[name], values, atol={"probability": 5e-3, "box": 0.3}[name])

    return compare


def in_torch(trained: FinishedRun) -> Any:
    deployed = Deployed(trained).eval()

    @torch.no_grad()
    def run(image: UInt8Array) -> dict[str, Any]:
        return {name: values.numpy() for name, values in deployed(torch.from_numpy(image)).items()}

    return run


@pytest.mark.parametrize(("kind", "resize"), CASES)
def test_deployed_predicts_what_the_evaluation_predicts(
    kind: str, resize: str, make_trained: Make, check: Check
) -> None:
    trained = make_trained(kind, resize=resize)
    check(in_torch(trained), trained)


@pytest.fixture
def trusted(make_trained: Make) -> FinishedRun:
    """A classification with a temperature of 4, and training images in random directions."""
    trained = make_trained()
    width = trained.task.head.linear.in_features
    vectors = torch.randn(12, width, generator=torch.Generator().manual_seed(0))
    trained.task.calibration = Calibration(4.0, torch.ones(3))
    trained.task.known_images = KnownImages(F.normalize(vectors, dim=1), torch.linspace(0.7, 1.3, 99))
    return trained


def check_trusted(run: Any, trained: FinishedRun, photo: Photo) -> None:
    """Shares go in steps of 0.01, of which one grey level more may cross a few."""
    for height, width in SIZES:
        image = photo(height, width)
        found, expected = run(image[None]), evaluate(trained, image).output
        assert list(found) == ["probability", "p_known"]
        np.testing.assert_allclose(found["probability"][0], expected.probability, atol=5e-3)
        np.testing.assert_allclose(found["p_known"][0], expected.p_known, atol=0.03)
        assert 0.01 < expected.p_known < 1


def test_temperature_and_unusual_images_are_deployed(trusted: FinishedRun, photo: Photo) -> None:
    check_trusted(in_torch(trusted), trusted, photo)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_temperature_and_unusual_images_are_in_files(
    form: str, trusted: FinishedRun, photo: Photo, tmp_path: Path
) -> None:
    check_trusted(written(trusted, form, tmp_path), trusted, photo)


@pytest.mark.parametrize("options", [{"num_objects": 2}, {"per_class_boxes": True}, {"class_weight": 0.0}])
def test_boxes_of_all_kinds_are_deployed(options: dict[str, Any], make_trained: Make, check: Check) -> None:
    trained = make_trained("LocalizationTask", resize="letterbox", **options)
    check(in_torch(trained), trained)


def test_windows_of_one_size_are_deployed(make_trained: Make, check: Check) -> None:
    trained = make_trained("SegmentationTask", resize="squash", window=[24, 24])
    check(in_torch(trained), trained)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("kind", "resize"), CASES)
def test_a_file_predicts_images_of_any_size(
    kind: str, resize: str, form: str, make_trained: Make, photo: Photo, check: Check, tmp_path: Path
) -> None:
    trained = make_trained(kind, resize=resize)
    run = written(trained, form, tmp_path)
    check(run, trained, [*SIZES, (1, 9), (7, 1)] if resize != "keep" else [(40, 60), (61, 37), (90, 91)])
    three = np.stack([photo(40, 60, seed) for seed in range(3)])
    together = run(three)
    for i, image in enumerate(three):
        for name, values in run(image[None]).items():
            np.testing.assert_allclose(together[name][i], values[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "options",
    [
        {"kind": "ClassificationTask", "in_chans": 1},
        {"kind": "ClassificationTask", "backbone": "test_vit", "image_size": (160, 160)},
        {"kind": "ClassificationTask", "backbone": "resnet20_cifar"},
        {"kind": "ClassificationTask", "backbone": "mobilenetv2_035"},
        {"kind": "LocalizationTask", "num_objects": 2},
        {"kind": "LocalizationTask", "per_class_boxes": True},
        *(
            {"kind": "SegmentationTask", "resize": "squash", "head": {"class_path": f"visiontasks.heads.{head}"}}
            for head in ("FCNHead", "DeepLabV3Head", "DeconvHead", "HourglassHead")
        ),
        {"kind": "SegmentationTask", "resize": "squash", "window": [24, 24]},
    ],
    ids=str,
)
def test_other_networks_and_heads_have_files_too(
    options: dict[str, Any], form: str, make_trained: Make, check: Check, tmp_path: Path
) -> None:
    trained = make_trained(**options)
    check(written(trained, form, tmp_path), trained, SIZES[:2])


def written(trained: FinishedRun, form: str, folder: Path) -> Any:
    program = trace(trained)
    if form == "program":
        save_program(program, folder / "model.pt2", notes={"classes": "[]"})
        return run_program(folder / "model.pt2")
    save_onnx(program, folder / "model.onnx", notes={"classes": "[]"})
    return run_onnx(folder / "model.onnx")


@pytest.mark.slow
def test_a_size_that_no_graph_can_have_is_one_clear_message(make_trained: Make) -> None:
    with pytest.raises(
        InputError, match=r"no graph can be made of SegmentationTask with test_resnet, resize: keep .*any size"
    ):
        trace(make_trained("SegmentationTask", resize="keep", window=[24, 24]))


class Unknown(torch.nn.Module):
    """An operator that is not in ONNX."""

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"probability": torch.linalg.eigvals(image[:, :2, :2, 0].float()).real}


@pytest.mark.slow
@needs_onnx
def test_an_operator_that_is_not_in_onnx_is_one_clear_message(tmp_path: Path) -> None:
    image = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    program = torch.export.export(Unknown(), (image,), strict=False)
    with pytest.raises(InputError, match=r"cannot be written as ONNX: .*eig"):
        save_onnx(program, tmp_path / "a.onnx", notes={})
    assert not (tmp_path / "a.onnx").exists()


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "missing_packages", lambda: ["onnxruntime"])
    with pytest.raises(InputError, match=r"onnx needs onnxruntime: pip install 'visiontasks\[export\]'"):
        graph.require_onnx()
