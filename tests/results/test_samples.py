"""The table of a measured split: its cells, how it is read, and which rows are the same sample."""

from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.data import DataModule, Source
from visiontasks.data.pipeline.sources import ArraySource, FileSource
from visiontasks.data.targets import TARGETS, BoxesTarget, LabelTarget, MaskTarget
from visiontasks.errors import InputError, MissingFileError
from visiontasks.outputs import CORNERS
from visiontasks.results.samples import Samples, keys_of, read_samples, table_name, write_samples
from visiontasks.tasks import LocalizationTask


class Made(DataModule):
    """Given samples as the test split."""

    def __init__(self, source: Source, **options: Any) -> None:
        super().__init__(**{"image_size": (16, 24), "resize": "squash", "num_workers": 0, "seed": 0, **options})
        self.given = source
        self.setup()

    @property
    def class_names(self) -> list[str]:
        return ["ant", 'bee, "the"\nbee', "cow"]

    def load_sources(self) -> dict[str, Source]:
        return {"test": self.given}


def arrays(labels: list[int], **options: Any) -> ArraySource:
    return ArraySource(np.zeros((len(labels), 40, 60, 3), np.uint8), np.array(labels), **options)


def localized(data: DataModule, box: list[float]) -> dict[str, torch.Tensor]:
    """The table of a single sample with a box in 0..1 of the network's input, which the task decodes."""
    task = LocalizationTask("test_resnet", weights="none", num_classes=1)
    geometry = torch.from_numpy(data.dataset("test")[0]["geometry"])[None]
    (output,) = task.decode((None, torch.tensor([[box]])), geometry)
    corners = dict(zip(CORNERS, torch.from_numpy(output.boxes[0]), strict=True))
    table = {"index": torch.tensor([0]), "label": torch.tensor([1]), "score": torch.tensor([0.5])}
    return table | {name: value.view(1) for name, value in corners.items()}


@pytest.fixture(autouse=True)
def any_class_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that the data would refuse reach the table too."""
    for target in TARGETS.values():
        monkeypatch.setattr(type(target), "check_sources", lambda *_: None)


def test_samples_and_classes_named_like_formulas_are_texts_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Made, "class_names", ["=1+1", "-0.3", "'@x"])
    data = Made(arrays([0, 1, 2]))
    table = {
        "index": torch.tensor([0, 1, 2]),
        "label": torch.tensor([0, 1, 2]),
        "predicted": torch.tensor([2, 1, 0]),
        "probability": torch.tensor([0.75, 0.25, 0.5]),
        "score": torch.tensor([-0.75, 0.1, 1.0]),
    }
    write_samples(tmp_path / "a.csv", table, data, "test")
    assert (tmp_path / "a.csv").read_text().splitlines()[1:] == [
        "0,'=1+1,''@x,0.75,-0.75",
        "1,-0.3,-0.3,0.25,0.100000001",
        "2,''@x,'=1+1,0.5,1",
    ]
    found = read_samples(tmp_path / "a.csv")
    assert found.label == ["=1+1", "-0.3", "'@x"]
    assert found.predicted == ["'@x", "-0.3", "=1+1"]
    assert found.score[0] == -0.75


def test_a_classified_split_has_a_row_for_each_sample(tmp_path: Path) -> None:
    table = {
        "index": torch.tensor([0, 1, 2]),
        "label": torch.tensor([0, 2, 1]),
        "predicted": torch.tensor([0, 1, -1]),
        "probability": torch.tensor([0.75, 1 / 3, nan]),
        "score": torch.tensor([0.75, 0.1, nan]),
    }
    write_samples(tmp_path / "a.csv", table, Made(arrays([0, 2, 1])), "test")
    assert (tmp_path / "a.csv").read_text() == (
        "sample,label,predicted,probability,score\n"
        "0,ant,ant,0.75,0.75\n"
        '1,cow,"bee, ""the""\nbee",0.333333343,0.100000001\n'
        '2,"bee, ""the""\nbee",,,\n'
    )
    found = read_samples(tmp_path / "a.csv")
    assert found.sample == ["0", "1", "2"]
    assert found.predicted == ["ant", 'bee, "the"\nbee', ""]
    assert found.is_right == [True, False, False]
    assert np.float32(found.score[1]) == np.float32(0.1)
    assert isnan(found.score[2])
    assert found.probability is not None
    assert np.float32(found.probability[1]) == np.float32(1 / 3)


@pytest.mark.parametrize(
    ("resize", "box", "pixels"),
    [
        # of images of 60x40 in 24x16: both sides by 2.5
        ("squash", [0.25, 0.5, 1.0, 0.75], "15.00,20.00,60.00,30.00"),
        # 60x40 in 24x12 is 18x12 with 3 px beside it: x = (24 u - 3) * 60 / 18, y = 12 v * 40 / 12
        ("letterbox", [0.125, 0.0, 0.5, 0.5], "0.00,0.00,30.00,20.00"),
        # 60x40 covers 24x12 as 24x16, of which 2 rows above are cut: y = (12 v + 2) * 40 / 16
        ("crop", [0.0, 0.0, 1.0, 1.0], "0.00,5.00,60.00,35.00"),
        ("keep", [0.5, 0.5, 1.5, 1.0], "30.00,20.00,90.00,40.00"),
    ],
)
def test_boxes_are_pixels_of_the_original_image(resize: str, box: list[float], pixels: str, tmp_path: Path) -> None:
    source = arrays([1], boxes=np.zeros((1, 4), np.float32))
    size = (16, 24) if resize == "squash" else (12, 24)
    data = Made(source, resize=resize, image_size=size, target=BoxesTarget())
    write_samples(tmp_path / "a.csv", localized(data, box), data, "test")
    header, *_, row = (tmp_path / "a.csv").read_text().splitlines()
    assert header == "sample,label,score,x1,y1,x2,y2"
    assert row.endswith(f",0.5,{pixels}")


def test_a_box_of_nan_is_empty(tmp_path: Path) -> None:
    data = Made(arrays([1], boxes=np.zeros((1, 4), np.float32)), target=BoxesTarget())
    write_samples(tmp_path / "a.csv", localized(data, [nan] * 4), data, "test")
    assert (tmp_path / "a.csv").read_text().splitlines()[-1].endswith(",0.5,,,,")


def test_a_segmented_split_has_names_and_scores(tmp_path: Path) -> None:
    names = ["a.png", "=cmd.png"]
    source = arrays([0, 0], masks=np.zeros((2, 40, 60), np.uint8), paths=[f"there/{name}" for name in names])
    table = {"index": torch.tensor([0, 1]), "score": torch.tensor([0.5, nan])}
    write_samples(tmp_path / "a.csv", table, Made(source, target=MaskTarget()), "test")
    assert (tmp_path / "a.csv").read_text() == "sample,score\na.png,0.5\n'=cmd.png,\n"
    found = read_samples(tmp_path / "a.csv")
    assert (found.label, found.predicted, found.probability, found.is_right) == (None, None, None, None)


def test_the_size_of_a_file_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (40, 60)).save(tmp_path / "a.jpg", exif=exif)
    data = Made(FileSource([str(tmp_path / "a.jpg")], np.array([0])), target=LabelTarget())
    write_samples(tmp_path / "a.csv", localized(data, [0.0, 0.0, 1.0, 0.5]), data, "test")
    assert (tmp_path / "a.csv").read_text().splitlines()[-1].endswith(",0.5,0.00,0.00,60.00,20.00")


def test_a_name_that_is_not_text_is_escaped(tmp_path: Path) -> None:
    source = arrays([0], paths=["there/caf\udce9.png"])
    write_samples(tmp_path / "a.csv", {"index": torch.tensor([0]), "score": torch.tensor([1.0])}, Made(source), "test")
    assert read_samples(tmp_path / "a.csv").sample == ["caf\\udce9.png"]


def test_samples_of_one_name_are_distinguished_by_label_and_order() -> None:
    assert keys_of(["1", "1", "2", "1"], ["cat", "dog", "cat", "cat"]) == [
        ("1", "cat", 0),
        ("1", "dog", 0),
        ("2", "cat", 0),
        ("1", "cat", 1),
    ]
    assert Samples(["a", "a"], [0.5, 1.0]).keys == [("a", "", 0), ("a", "", 1)]


def test_a_split_without_samples_is_read_as_empty(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sample,label,predicted,probability,score\n")
    assert len(read_samples(tmp_path / "a.csv")) == 0


def test_other_data_has_its_own_file() -> None:
    assert (table_name("val"), table_name("test", "_holiday")) == (
        "predictions_val.csv",
        "predictions_test_holiday.csv",
    )


@pytest.mark.parametrize("text", ["", "sample\na\n", "sample,score\na,high\n", "sample,score\na,1,2\n"])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "predictions_test.csv").write_text(text)
    with pytest.raises(InputError, match="predictions_test.csv is not a table of predictions .*evaluate .* writes it"):
        read_samples(tmp_path / "predictions_test.csv")


def test_a_missing_table_is_named_with_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no .*a\.csv: visiontasks evaluate"):
        read_samples(tmp_path / "a.csv")
