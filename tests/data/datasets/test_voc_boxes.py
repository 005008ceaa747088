"""Pascal VOC annotations as users have them, and the mistakes in them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import VOCBoxes
from visiontasks.data.datasets.boxes import BoxSource
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

Annotate = Callable[..., Path]
GOOD = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>4</ymax></bndbox></object>"
SIZE = "<size><width>8</width><height>6</height><depth>3</depth></size>"


@pytest.fixture
def annotate(tmp_path: Path) -> Annotate:
    """`annotate("a", "b", xml=GOOD)`: these images and XML files in a root, which is returned."""

    def write(*stems: str, xml: str = f"<annotation>{SIZE}{GOOD}</annotation>", suffix: str = ".jpg") -> Path:
        for folder in ("images", "annotations"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for stem in stems:
            Image.new("RGB", (8, 6)).save(tmp_path / "images" / f"{stem}{suffix}")
            (tmp_path / "annotations" / f"{stem}.xml").write_text(xml)
        return tmp_path

    return write


def stems(data: VOCBoxes, split: str) -> list[str]:
    data.setup()
    source = data.source(split)
    assert isinstance(source, BoxSource)
    return [Path(path).stem for path in source.paths]


def problems(data: VOCBoxes) -> list[str]:
    with pytest.raises(BadSamplesError) as raised:
        data.setup()
    return str(raised.value).replace(f"{data.root}/", "").splitlines()[1:-1]


def test_coordinates_are_taken_as_written(annotate: Annotate) -> None:
    data = VOCBoxes(str(annotate("a", "b", "c")))
    data.setup()
    sample = data.source("train")[0]
    assert (sample["boxes"].tolist(), sample["labels"], data.class_names) == ([[1, 2, 5, 4]], [0], ["cat"])


def test_vocs_own_files_count_pixels_from_1(annotate: Annotate) -> None:
    """1 2 to 5 4 are five by three pixels there, whose edges are 0 1 5 4."""
    source = "<source><database>The VOC2007 Database</database></source>"
    data = VOCBoxes(str(annotate("a", "b", "c", xml=f"<annotation>{source}{SIZE}{GOOD}</annotation>")))
    data.setup()
    assert data.source("train")[0]["boxes"].tolist() == [[0, 1, 5, 4]]
    assert data.notes == ["pixels are counted from 1, as in Pascal VOC's own files"]


def test_difficult_objects_and_nested_parts(annotate: Annotate) -> None:
    part = "<part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>8</xmax><ymax>6</ymax></bndbox></part>"
    hard = GOOD.replace("</name>", "</name><difficult>1</difficult>" + part)
    data = VOCBoxes(str(annotate("a", "b", "c", xml=f"<annotation>{hard}</annotation>")))
    data.setup()
    assert data.source("train")[0]["boxes"].tolist() == [[1, 2, 5, 4]]
    assert data.class_names == ["cat"]


@pytest.mark.parametrize("folder", [".", "ImageSets/Main", "ImageSets", "splits"])
def test_text_files_are_the_splits(annotate: Annotate, folder: str) -> None:
    root = annotate("a", "b.c", "d", "unlisted")
    (root / folder).mkdir(parents=True, exist_ok=True)
    for split, stem in (("train", "b.c"), ("val", "a"), ("test", " d ")):
        (root / folder / f"{split}.txt").write_text(f"{stem}\n\n")
    data = VOCBoxes(str(root))
    assert [stems(data, split) for split in ("train", "val", "test")] == [["b.c"], ["a"], ["d"]]
    names = ", ".join(str(root / folder / f"{split}.txt") for split in ("train", "val", "test"))
    assert data.notes == [f"splits are those of {names}", "1 image(s) that no list names are left out"]


def test_named_files_are_the_splits_and_train_gives_validation(annotate: Annotate) -> None:
    root = annotate(*"abcdef")
    (root / "train.txt").write_text("a\nb\nc\nd\ne")
    (root / "val.txt").write_text("f")
    data = VOCBoxes(str(root), splits={"train": "train.txt", "test": "val.txt"})
    data.setup()
    assert data.split_sizes == {"train": 4, "test": 1, "val": 1}
    assert stems(data, "test") == ["f"]


def test_without_text_files_all_are_divided(annotate: Annotate) -> None:
    data = VOCBoxes(str(annotate(*"abcdefghij")))
    data.setup()
    assert data.split_sizes == {"train": 6, "val": 2, "test": 2}


def test_folders_may_have_other_names(annotate: Annotate) -> None:
    root = annotate("a", "b", "c")
    (root / "images").rename(root / "JPEGImages")
    (root / "annotations").rename(root / "Annotations")
    VOCBoxes(str(root), images="JPEGImages", annotations="Annotations").setup()
    VOCBoxes(str(root)).setup()
    (root / "JPEGImages").rename(root / "photos")
    with pytest.raises(MissingFileError, match=r"no folder .*/images/: point .*or name the subfolder \(--d"):
        VOCBoxes(str(root)).setup()


def test_files_without_their_counterpart_are_listed(annotate: Annotate) -> None:
    root = annotate("good", "lonely", "bare", "double")
    (root / "images/lonely.jpg").unlink()
    (root / "annotations/bare.xml").unlink()
    (root / "images/double.png").touch()
    (root / "images/notes.txt").touch()
    assert problems(VOCBoxes(str(root))) == [
        "images/bare.jpg: no annotation annotations/bare.xml; annotate it, or remove the image",
        "images/double.jpg: the stem of images/double.png too; rename or remove one",
        "annotations/lonely.xml: no image images/lonely.*; copy it there, or remove the annotation",
    ]


@pytest.mark.parametrize(
    ("xml", "problem"),
    [
        (f"<a>{SIZE}</a>", ": no object in images/bad.jpg; draw its box, or remove the image"),
        (f"<a>{GOOD.replace('2</ymin>', '</ymin>')}</a>", " object 1: has no ymin; correct it, or remove the object"),
        (f"<a>{GOOD}{GOOD.replace('5', 'five')}</a>", " object 2: xmax is 'five', expected a number; correct it, or"),
        (f"<a>{GOOD.replace('cat', ' ')}</a>", " object 1: has no class; correct it, or remove the object"),
        (
            f"<a>{GOOD.replace('bndbox', 'polygon')}</a>",
            " object 1: has no xmin, has no ymin, has no xm",
        ),
        (
            f"<a>{GOOD.replace('5', '-5')}</a>",
            " object 1: cat's box 1 2 -5 4 has x1 > x2, expected",
        ),
        (
            f"<a>{GOOD.replace('5', '9')}</a>",
            " object 1: cat's box 1 2 9 4 reaches beyond its image of 8x6 pixels",
        ),
        (
            f"<a><size><width>6</width><height>8</height></size>{GOOD}</a>",
            ": made for an image of 6x8 pixels, but images/bad.jpg has 8x6 (upright); draw the boxes in the image as",
        ),
        (f"<a><size><width>0</width><height>0</height></size>{GOOD}</a>", None),
        (f"<a>{GOOD}", " line 1: cannot be read as XML (no element found at column "),
        ("", " line 1: cannot be read as XML (no element found at column 0); export it again"),
        ('<?xml version="1.0" encoding="none"?><a/>', ": cannot be read as XML (unknown encoding"),
    ],
)
def test_faults_of_a_file(annotate: Annotate, xml: str, problem: str | None) -> None:
    annotate("a", "b", "c")
    data = VOCBoxes(str(annotate("bad", xml=xml)))
    if problem is None:
        data.setup()
        return
    (line,) = problems(data)
    assert line.startswith(f"annotations/bad.xml{problem}")


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;">]>'


@pytest.mark.parametrize("doctype", [BOMB, '<!DOCTYPE a SYSTEM "file:///etc/passwd">'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_and_so_entities_are_refused(annotate: Annotate, doctype: str, encoding: str) -> None:
    annotate("a", "b", "c")
    root = annotate("bomb")
    text = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}<a>{GOOD.replace("cat", "&y;")}</a>'
    (root / "annotations/bomb.xml").write_text(text, encoding=encoding)
    (line,) = problems(VOCBoxes(str(root)))
    assert line == ("annotations/bomb.xml: cannot be read as XML (a DOCTYPE is refused); export it again")
    data = VOCBoxes(str(root), on_bad_sample="skip")
    data.setup()
    assert sum(data.skipped.values()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\nb\n", r"train.txt names files that are not there: a.jpg; expected in each line the name of an image"),
        ("a\nb\na\n", "train.txt names files twice: a"),
        ("\n", "train.txt is empty"),
    ],
)
def test_broken_split_files_are_refused(annotate: Annotate, text: str, message: str) -> None:
    root = annotate("a", "b", "c")
    (root / "train.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        VOCBoxes(str(root), on_bad_sample="skip").setup()


def test_a_missing_split_file_is_named(annotate: Annotate) -> None:
    with pytest.raises(MissingFileError, match=r"data.init_args.splits: no file .*/all.txt"):
        VOCBoxes(str(annotate("a")), splits={"train": "all.txt"}).setup()


def test_a_root_without_files_is_refused(annotate: Annotate) -> None:
    with pytest.raises(InputError, match="has no images for train"):
        VOCBoxes(str(annotate())).setup()


def test_split_files_may_have_other_names_and_devkits_a_trainval(annotate: Annotate) -> None:
    root = annotate("a", "b", "c")
    (root / "Train.txt").write_text("a")
    (root / "valid.txt").write_text("b")
    (root / "classes.txt").write_text("cat")
    data = VOCBoxes(str(root))
    assert [stems(data, split) for split in ("train", "val")] == [["a"], ["b"]]
    for name, stem in (("trainval", "b"), ("test", "c"), ("cat_train", "a")):
        (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Main/{name}.txt").write_text(stem)
    (root / "Train.txt").unlink()
    (root / "valid.txt").unlink()
    data = VOCBoxes(str(root), test_fraction=1.0)
    assert stems(data, "test") == ["c"]


def test_two_files_of_one_split_are_refused(annotate: Annotate) -> None:
    root = annotate("a", "b", "c")
    for name in ("train", "val", "valid"):
        (root / f"{name}.txt").write_text("a")
    with pytest.raises(InputError, match=r"val\.txt and valid\.txt are both val; name one"):
        VOCBoxes(str(root)).setup()


def test_stems_are_compared_in_one_unicode_form(annotate: Annotate) -> None:
    root = annotate("cr\u00e8me", "b", "c")
    (root / "annotations/cr\u00e8me.xml").rename(root / "annotations/cre\u0300me.xml")
    (root / "train.txt").write_text("cre\u0300me\nb")
    (root / "val.txt").write_text("c")
    assert len(stems(VOCBoxes(str(root)), "train")) == 2


def test_files_beside_each_other_name_the_options(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text(f"<annotation>{SIZE}{GOOD}</annotation>")
    with pytest.raises(MissingFileError, match=r"with --data\.annotations \. --data\.images \."):
        VOCBoxes(str(tmp_path)).setup()


@pytest.mark.realdata
def test_raccoons_have_their_boxes(unpacked: Callable[[str], Path]) -> None:
    root = str(unpacked("raccoon"))
    data = VOCBoxes(root)
    data.setup()
    assert data.class_names == ["raccoon"]
    assert data.split_sizes == {"train": 160, "val": 40}
    first = data.source("train")[0]
    assert first["boxes"].tolist() == [[81, 88, 522, 408]]
    assert first["image"].shape == (417, 650, 3)
    assert all(np.isfinite(data.source("val")[i]["boxes"]).all() for i in range(40))


@pytest.mark.realdata
def test_raccoons_alone_in_their_images(unpacked: Callable[[str], Path]) -> None:
    data = VOCBoxes(
        str(unpacked("raccoon")),
        splits={"train": "train.txt", "test": "val.txt"},
        multiple="refuse",
        on_bad_sample="skip",
    )
    data.setup()
    sizes = data.split_sizes
    assert sizes["train"] + sizes["val"] == 147
    assert sizes["test"] == 37
    assert data.skipped["train"] + data.skipped["val"] == 13
    assert data.skipped["test"] == 3
