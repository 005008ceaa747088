"""What the values of mask files mean, and files that pair or do not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.formats.masks import MaskSource, ValueTable, paired, read_masks
from visiontasks.errors import InputError, MissingFileError

ORIENTATION = 0x0112
A_QUARTER_TURN = 6


def save(path: Path, pixels: object, **options: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path, **options)
    return str(path)


def test_values_become_classes_and_ignored_ones_255() -> None:
    table = ValueTable({0: 0, 2: 1, 7: 2}, ignored=[1])
    mask = table.classes_of(np.array([[0, 1, 2], [7, 255, 0]], np.uint8))
    assert mask.tolist() == [[0, 255, 1], [2, 255, 0]]
    assert mask.dtype == np.uint8


def test_an_ignored_value_is_no_class_even_if_it_is_called_one() -> None:
    assert ValueTable({0: 0, 1: 1}, ignored=[1]).classes_of(np.array([[1]], np.uint8)).tolist() == [[255]]


def test_values_of_no_class_are_named_with_those_that_are_known() -> None:
    table = ValueTable({value: value for value in (0, 1, 2, 5)})
    with pytest.raises(InputError, match=r"^value\(s\) 3, 9, expected those of .*: 0-2, 5, 255$"):
        table.classes_of(np.array([[9, 3], [3, 0]], np.uint8))


def test_a_source_gives_image_and_classes(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", [[[1, 2, 3]] * 3] * 2)
    mask = save(tmp_path / "a_mask.png", [[0, 4, 4], [255, 0, 0]])
    source = MaskSource([image], [mask], ValueTable({0: 0, 4: 1}))
    sample = source[0]
    assert (len(source), source.labels.tolist()) == (1, [0])
    assert sample["image"].tolist() == [[[1, 2, 3]] * 3] * 2
    assert sample["mask"].tolist() == [[0, 1, 1], [255, 0, 0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 9, 0]] * 2, r"a_mask.png: value\(s\) 9, expected"),
        ([[0, 0]] * 3, r"a_mask.png: the mask has 2x3 pixels, but its image 3x2 \(upright\)"),
    ],
)
def test_a_mask_that_changed_after_the_check_is_named(tmp_path: Path, values: object, message: str) -> None:
    image, mask = save(tmp_path / "a.png", [[[1, 2, 3]] * 3] * 2), save(tmp_path / "a_mask.png", values)
    with pytest.raises(InputError, match=message):
        MaskSource([image], [mask], ValueTable({0: 0}))[0]


def test_files_pair_by_stem_in_natural_order_whatever_their_suffix_and_folder(tmp_path: Path) -> None:
    for stem in ("b/x.1", "a10", "a2"):
        save(tmp_path / f"images/{stem}.jpg", [[[0, 0, 0]]])
        save(tmp_path / f"masks/{stem}.png", [[0]])
    (tmp_path / "masks/notes.txt").touch()
    found = paired(tmp_path / "images", tmp_path / "masks")
    assert [Path(item.image).stem for item in found] == [Path(item.mask).stem for item in found] == ["a2", "a10", "x.1"]
    assert not any(item.problems for item in found)


def test_files_without_a_partner_or_with_two_are_problems(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for file in ("images/bare.png", "masks/lonely.png", "images/two.jpg", "images/two.png", "masks/two.png"):
        save(tmp_path / file, [[0]])
    found = paired(images, masks)
    assert [str(problem).replace(f"{tmp_path}/", "") for item in found for problem in item.problems] == [
        "images/bare.png: no mask masks/bare.png; copy it there, or remove the image",
        "masks/lonely.png: no image images/lonely.*; copy it there, or remove the mask",
        "images/two.jpg: the stem of images/two.png too; rename or remove one",
    ]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", [[0]])
    with pytest.raises(MissingFileError, match=r"no folder .*/masks/: point --data.init_args.root"):
        paired(tmp_path / "images", tmp_path / "masks")


def test_files_that_are_not_images_are_named(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", [[0]])
    save(tmp_path / "masks/a.png", [[0]])
    (tmp_path / "masks/b.npy").touch()
    with pytest.raises(InputError, match="not images: .*b.npy; convert"):
        paired(tmp_path / "images", tmp_path / "masks")


def test_reading_counts_the_pixels_of_each_value(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", [[[0, 0, 0]] * 3] * 2)
    save(tmp_path / "masks/a.png", [[0, 4, 4], [255, 4, 0]])
    found = paired(tmp_path / "images", tmp_path / "masks")
    read_masks(found)
    assert {value: int(found[0].value_counts[value]) for value in np.flatnonzero(found[0].value_counts)} == {
        0: 2,
        4: 3,
        255: 1,
    }


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16"])
def test_masks_of_any_depth_give_indices(tmp_path: Path, mode: str) -> None:
    save(tmp_path / "images/a.png", [[[0, 0, 0]] * 2])
    (tmp_path / "masks").mkdir()
    if mode == "1":
        mask = Image.fromarray(np.array([[False, True]]))
    elif mode == "I;16":
        mask = Image.fromarray(np.array([[0, 1]], np.uint16))
    else:
        mask = Image.fromarray(np.array([[0, 1]], np.uint8))
    if mode == "P":
        mask.putpalette([0, 0, 0, 128, 64, 32])  # the second class is brown
    assert mask.mode == mode
    mask.save(tmp_path / "masks/a.png")
    (item,) = paired(tmp_path / "images", tmp_path / "masks")
    read_masks([item])
    assert not item.problems
    assert MaskSource([item.image], [item.mask], ValueTable({0: 0, 1: 1}))[0]["mask"].tolist() == [[0, 1]]


def test_a_mask_is_as_the_image_is_seen(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[ORIENTATION] = A_QUARTER_TURN  # stored with 3x2 pixels, seen with 2x3
    save(tmp_path / "images/a.jpg", [[[0, 0, 0]] * 3] * 2, exif=turned)
    save(tmp_path / "masks/a.png", [[0, 0, 1]] * 2)
    (stored,) = paired(tmp_path / "images", tmp_path / "masks")
    read_masks([stored])
    (problem,) = stored.problems
    assert str(problem).endswith(
        "a.png: the mask has 3x2 pixels, but its image 2x3 (upright); save it at its image's size"
    )

    save(tmp_path / "masks/a.png", [[0, 0], [0, 0], [1, 1]])
    (seen,) = paired(tmp_path / "images", tmp_path / "masks")
    read_masks([seen])
    assert not seen.problems

    save(tmp_path / "masks/a.png", [[0, 0, 1]] * 2, exif=turned)  # the mask is turned by a tag too
    sample = MaskSource([seen.image], [seen.mask], ValueTable({0: 0, 1: 1}))[0]
    assert sample["mask"].tolist() == [[0, 0], [0, 0], [1, 1]]


def test_a_damaged_image_and_a_damaged_mask_are_two_problems(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"")
    (item,) = paired(tmp_path / "images", tmp_path / "masks")
    read_masks([item])
    assert [problem.file for problem in item.problems] == [item.mask, item.image]
    assert {problem.what for problem in item.problems} == {"the file is empty (0 bytes), expected an image"}


@pytest.mark.parametrize("suffix", ["_mask", "-gt", ".label", "_1"])
def test_masks_may_have_one_suffix_behind_the_stem(tmp_path: Path, suffix: str) -> None:
    for stem in ("a", "a_b", "b10"):
        save(tmp_path / f"images/{stem}.jpg", [[[0, 0, 0]]])
        save(tmp_path / f"masks/{stem}{suffix}.png", [[0]])
    found = paired(tmp_path / "images", tmp_path / "masks")
    assert [(Path(item.image).stem, Path(item.mask).stem) for item in found] == [
        (stem, f"{stem}{suffix}") for stem in ("a", "a_b", "b10")
    ]
    assert not any(item.problems for item in found)


@pytest.mark.parametrize("masks", [("a_x", "b_y"), ("1", "2"), ("a2", "b2"), ("mask_a", "mask_b")])
def test_masks_with_other_names_are_refused(tmp_path: Path, masks: tuple[str, ...]) -> None:
    for stem, mask in zip("ab", masks, strict=True):
        save(tmp_path / f"images/{stem}.jpg", [[[0, 0, 0]]])
        save(tmp_path / f"masks/{mask}.png", [[0]])
    with pytest.raises(InputError, match=r"no mask has the stem of an image: .*masks/.*\.png, .* rename them"):
        paired(tmp_path / "images", tmp_path / "masks")


def test_stems_in_two_unicode_forms_pair(tmp_path: Path) -> None:
    save(tmp_path / "images/cr\u00e8me.jpg", [[[0, 0, 0]]])
    save(tmp_path / "masks/cre\u0300me.png", [[0]])
    (item,) = paired(tmp_path / "images", tmp_path / "masks")
    assert not item.problems
