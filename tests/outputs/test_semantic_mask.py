from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from visiontasks.errors import InputError
from visiontasks.outputs import SemanticMask

NAMES = ["background", "cat", "dog"]


def logits(*of_pixels: list[float]) -> Tensor:
    """Logits of a row of pixels, (K, 1, W)."""
    return torch.tensor(of_pixels).T.unsqueeze(1)


def test_the_mask_has_the_most_probable_classes() -> None:
    output = SemanticMask(scores=logits([0, 2, 1], [3, 2, 1]))
    assert output.mask.tolist() == [[1, 0]]
    assert output.mask.dtype == np.uint8
    assert output.image_size == (1, 2)


def test_the_mean_is_that_of_probabilities_and_not_of_logits() -> None:
    # Softmax (1, 0, 0) and (0, 0.5, 0.5) against logits whose sum is largest for the second class.
    first, second = SemanticMask(scores=logits([9.0, -9, -9])), SemanticMask(scores=logits([-99.0, 20, 20]))
    assert SemanticMask.mean([first, second]).mask.tolist() == [[0]]
    assert SemanticMask.mean([first, second]).scores is None


def test_a_single_prediction_keeps_its_classes_and_drops_its_scores() -> None:
    mean = SemanticMask.mean(iter([SemanticMask(scores=logits([0.0, 1, 0]))]))
    assert (mean.mask.tolist(), mean.scores) == ([[1]], None)


def test_a_mirrored_mask_has_its_pixels_exchanged() -> None:
    assert SemanticMask(scores=logits([0.0, 1, 0], [1.0, 0, 0])).flipped().mask.tolist() == [[0, 1]]
    assert SemanticMask(np.uint8([[1, 2, 0]])).flipped().mask.tolist() == [[0, 2, 1]]


def test_lines_give_the_shares_largest_first() -> None:
    assert SemanticMask(np.uint8([[1, 1, 1, 0]])).lines(NAMES) == ["cat 75.0%  background 25.0%"]


def test_truth_and_prediction_are_drawn_beside_each_other() -> None:
    image = Image.new("RGB", (2, 2), (128, 128, 128))
    truth, output = SemanticMask(np.uint8([[0, 0], [0, 255]])), SemanticMask(np.uint8([[1, 1], [1, 1]]))
    drawn = output.draw(image, NAMES, truth)
    assert list(drawn) == ["image", "truth", "prediction"]
    assert drawn["image"].tobytes() == image.tobytes()
    assert output.num_panels(truth) == 3
    assert [entry.name for entry in output.legend(NAMES, truth)] == ["background", "cat", "ignored"]
    with pytest.raises(ValueError, match=r"classes 0..0 or 255 in the masks, got \[1\]"):
        output.legend(["background"])


def test_the_picture_file_has_class_indices_and_a_palette(tmp_path: Path) -> None:
    SemanticMask(np.uint8([[2, 0]])).png(NAMES).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.asarray(image).tolist() == [[2, 0]]
        assert image.convert("RGB").getpixel((1, 0)) == (0, 0, 0)  # background


def test_json_names_a_file_that_is_read_again(tmp_path: Path) -> None:
    entry = SemanticMask(np.uint8([[2, 0]])).to_json(tmp_path, "1")
    assert entry == {"mask": "1_mask.png"}
    assert SemanticMask.from_json(entry, tmp_path).mask.tolist() == [[2, 0]]


def test_pixels_that_differ_are_flips_or_ties_by_the_references_lead() -> None:
    reference = SemanticMask(scores=logits([9.0, 0, 0], [0.0, 0.0001, 0], [0.0, 9, 0], [0.0, 9, 0]))
    difference = SemanticMask(np.uint8([[1, 0, 1, 1]])).difference(reference)
    assert (difference.classes, difference.flips, difference.ties) == (4, 1, 1)
    assert difference.figures == {"mask_share": 0.5}
    assert difference.faults == ["1 of 4 classes differ"]


def test_another_size_or_type_is_refused() -> None:
    with pytest.raises(InputError, match=r"mask has the shape \(1, 2\), expected \(2, 1\)"):
        SemanticMask(np.uint8([[0, 1]])).difference(SemanticMask(np.uint8([[0], [1]])))
    with pytest.raises(ValueError, match="expected a mask uint8"):
        SemanticMask(np.zeros((2, 2), np.int64))  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ValueError, match="either classes or scores"):
        SemanticMask()
