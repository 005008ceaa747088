"""Oxford-IIIT Pet in its official layout: made files, and three breeds of the real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import OxfordPets
from visiontasks.data.audit.overview import overview, untaught_classes
from visiontasks.data.targets import TargetName
from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

Write = Callable[..., Path]
HEAD = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{x2}</xmax><ymax>4</ymax></bndbox></object>"
SIZE = "<size><width>8</width><height>6</height></size>"
TRIMAP = [[2] * 8] * 2 + [[2, 3, 1, 1, 1, 1, 3, 2]] * 4


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A root with 10 trainval and 2 test images of classes 1 (Abyssinian) and 32 (shiba inu); no box for the last."""
    base = tmp_path / "oxford-iiit-pet"
    for folder in ("images", "annotations/xmls", "annotations/trimaps"):
        (base / folder).mkdir(parents=True)
    listings: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(12):
        breed, label = (("Abyssinian", 1), ("shiba_inu", 32))[number % 2]
        stem = f"{breed}_{number}"
        listings["trainval" if number < 10 else "test"].append(f"{stem} {label} 1 1")
        Image.new("RGB", (8, 6), (20 * number, 0, 0)).save(base / f"images/{stem}.jpg")
        Image.fromarray(np.array(TRIMAP, np.uint8)).save(base / f"annotations/trimaps/{stem}.png")
        if number < 9:
            heads = HEAD.format(x2=3) + HEAD.format(x2=6) * (number == 0)
            (base / f"annotations/xmls/{stem}.xml").write_text(f"<annotation>{SIZE}{heads}</annotation>")
    for split, lines in listings.items():
        (base / f"annotations/{split}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def opened(root: Path, **options: Any) -> OxfordPets:
    data = OxfordPets(str(root), **options)
    data.prepare_data()
    data.setup()
    return data


def all_samples(data: OxfordPets) -> list[Any]:
    return [data.source(split)[row] for split in data.split_sizes for row in range(data.split_sizes[split])]


def test_labels_are_breeds_in_official_order_without_gaps(pets: Path) -> None:
    data = opened(pets, num_workers=0)
    assert data.class_names == ["Abyssinian", "shiba inu"]
    assert data.split_sizes == {"train": 8, "val": 2, "test": 2}
    assert [np.bincount(data.source(split).labels).tolist() for split in ("train", "val", "test")] == [
        [4, 4],
        [1, 1],
        [1, 1],
    ]
    assert [data.source("test")[row]["label"] for row in range(2)] == [0, 1]


def test_boxes_are_of_the_largest_head_and_a_fifth_of_trainval_is_the_test_split(pets: Path) -> None:
    data = opened(pets, target="box", val_fraction=0.25)
    assert data.split_sizes == {"train": 5, "val": 2, "test": 2}
    assert data.skipped == {"trainval": 1}
    boxes = sorted(sample["boxes"][0].tolist() for sample in all_samples(data))
    assert boxes == [[1, 2, 3, 4]] * 8 + [[1, 2, 6, 4]]
    assert {sample["labels"].item() for sample in all_samples(data)} == {0, 1}


def test_trimaps_are_pet_background_and_border(pets: Path) -> None:
    data = opened(pets, target="mask")
    assert data.class_names == ["pet", "background", "border"]
    assert data.split_sizes == {"train": 8, "val": 2, "test": 2}
    assert data.source("test")[0]["mask"].tolist() == [[1] * 8] * 2 + [[1, 2, 0, 0, 0, 0, 2, 1]] * 4
    assert data.class_counts == [8 * 16, 8 * 24, 8 * 8]


@pytest.mark.parametrize("target", ["label", "mask"])
def test_validation_is_stratified_by_breed_and_the_same_for_labels_and_masks(pets: Path, target: TargetName) -> None:
    data = opened(pets, target=target, seed=3)
    assert sorted(int(data.source("val")[row]["image"][0, 0, 0]) // 20 % 2 for row in range(2)) == [0, 1]
    labelled = opened(pets)
    for row in range(2):
        np.testing.assert_array_equal(data.source("val")[row]["image"], labelled.source("val")[row]["image"])


def test_a_training_is_told_which_classes_it_cannot_learn(pets: Path) -> None:
    assert untaught_classes(opened(pets, target="mask")) == []
    for path in (pets / "oxford-iiit-pet/annotations/trimaps").iterdir():
        Image.fromarray(np.minimum(np.array(TRIMAP, np.uint8), 2)).save(path)
    assert overview(opened(pets, target="mask"))[1] == "warning: no training pixels of border: not learned"
    for path in (pets / "oxford-iiit-pet/annotations/xmls").glob("shiba*"):
        path.unlink()
    assert overview(opened(pets, target="box"))[1] == "warning: no training objects of shiba inu: not learned"


def test_missing_files_are_named_with_and_without_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFileError, match=r"no Oxford-IIIT Pet in .*: run with --data.init_args.download true"):
        opened(tmp_path)
    monkeypatch.setattr("visiontasks.downloads.unreachable", lambda urls: "no network")
    with pytest.raises(MissingFileError, match=r"cannot be downloaded from https://www.robots.* \(no network\); put"):
        opened(tmp_path, download=True)


def test_what_a_download_will_bring_is_known_before(tmp_path: Path) -> None:
    names = OxfordPets(str(tmp_path)).class_names
    assert (len(names), names[0], names[31], names[36]) == (37, "Abyssinian", "shiba inu", "yorkshire terrier")
    assert names == sorted(names, key=str.lower)
    assert OxfordPets(str(tmp_path), target="mask").num_classes == 3


def test_files_that_are_there_are_not_fetched(pets: Path) -> None:
    assert DOWNLOADS["OxfordPets"].is_in(pets)
    assert opened(pets, download=True).split_sizes["test"] == 2


@pytest.mark.parametrize(
    ("split", "text", "message"),
    [
        ("trainval", "", r"trainval\.txt: expected lines of stem, class, species and breed; unpack"),
        ("test", "Abyssinian_1 one 1 1", r"test\.txt: expected lines"),
        ("test", "beagle_1 5 2 1", r"breeds of test\.txt missing in trainval\.txt: beagle_1"),
        ("test", None, r"no file .*test\.txt: unpack annotations\.tar\.gz again"),
    ],
)
def test_broken_listings_are_named(pets: Path, split: str, text: str | None, message: str) -> None:
    path = pets / f"oxford-iiit-pet/annotations/{split}.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=message):
        _ = OxfordPets(str(pets)).class_names


def test_broken_boxes_are_all_listed_or_left_out(pets: Path) -> None:
    xmls = pets / "oxford-iiit-pet/annotations/xmls"
    (xmls / "Abyssinian_2.xml").write_text("<annotation>")
    (xmls / "shiba_inu_1.xml").write_text(f"<annotation>{HEAD.format(x2=60)}</annotation>")
    with pytest.raises(BadSamplesError, match=r"2 problem\(s\) in 2 of 9") as raised:
        opened(pets, target="box")
    assert "shiba_inu_1.xml object 1: cat's box 1 2 60 4 reaches beyond its image of 8x6 pixels" in str(raised.value)
    assert "Abyssinian_2.xml line 1: cannot be read as XML" in str(raised.value)
    data = opened(pets, target="box", on_bad_sample="skip")
    assert data.skipped == {"trainval": 3}
    assert len(all_samples(data)) == 7


def test_no_box_files_at_all_are_named(pets: Path) -> None:
    for path in (pets / "oxford-iiit-pet/annotations/xmls").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no box files of the trainval images in .*xmls/: unpack"):
        opened(pets, target="box")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "breed"}, "target: 'breed', expected one of label, box, mask"),
        ({"val_fraction": 1.0}, "val_fraction: 1.0, expected between 0 and 1"),
        ({"target": "mask", "resize": "crop"}, "resize: crop, which would leave"),
    ],
)
def test_values_out_of_range_are_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"data\.init_args\.{message}"):
        OxfordPets(**options)


@pytest.mark.realdata
def test_three_real_breeds(unpacked: Callable[[str], Path]) -> None:
    root = unpacked("pets3")
    data = opened(root)
    assert data.class_names == ["Abyssinian", "american bulldog", "Bengal"]
    assert data.split_sizes == {"train": 240, "val": 60, "test": 298}
    boxed = opened(root, target="box")
    assert boxed.skipped == {"trainval": 4}
    assert sum(boxed.split_sizes.values()) == 296
    for sample in all_samples(boxed):
        height, width = sample["image"].shape[:2]
        x1, y1, x2, y2 = sample["boxes"][0].tolist()
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
    masked = opened(root, target="mask")
    assert masked.split_sizes == {"train": 240, "val": 60, "test": 298}
    assert set(np.unique(masked.source("test")[0]["mask"])) == {0, 1, 2}
    pet, background, border = masked.class_counts
    assert background > pet > border > 0
