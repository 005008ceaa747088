"""Which network a name, a head and the options give, and what is answered where they do not fit."""

from pathlib import Path

import pytest
import timm

import visiontasks.backbones
from visiontasks.backbones import save_local_dir
from visiontasks.errors import InputError, MissingFileError
from visiontasks.heads import __all__ as heads
from visiontasks.summary import build_network, summarize_backbone

assert visiontasks.backbones  # registers the networks

DETECTION = ("DetectionHead", "FCOSHead", "FasterRCNNHead", "RetinaNetHead")


def test_a_network_is_summarized_as_published_with_its_classifier() -> None:
    summary = summarize_backbone("lenet5")
    assert summary.image == (1, 32, 32)
    assert summary.parameters == 61_706
    assert summary.layers[-1].output == (10,)


def test_the_backbone_alone_ends_in_its_vector() -> None:
    assert summarize_backbone("lenet5", classifier=False).layers[-1].output == (84,)


def test_its_classifier_may_have_another_number_of_classes() -> None:
    assert summarize_backbone("lenet5", num_classes=3).layers[-1].weights == 84 * 3


def test_a_vector_head_takes_the_vector() -> None:
    summary = summarize_backbone("lenet5", head="LinearHead", num_classes=4)
    layer = summary.layers[-1]
    assert (layer.name, layer.output, layer.weights, layer.biases) == ("head.linear", (4,), 84 * 4, 4)
    assert summary.image == (1, 32, 32)


@pytest.mark.parametrize("head", [name for name in heads if name not in ("DenseHead", "BoxHead", *DETECTION)])
def test_every_head_can_be_summarized(head: str) -> None:
    summary = summarize_backbone("resnet18", head=head, num_classes=5, image_size=(64, 96))
    assert summary.image == (3, 64, 96)
    of_head = [layer for layer in summary.layers if layer.name.startswith("head")]
    assert any(layer.output[0] == 5 for layer in of_head)
    assert sum(layer.multiply_adds for layer in of_head) > 0


def test_a_detector_is_summarized_with_its_towers_at_every_level() -> None:
    """resnet18 at 64 x 96 has maps of 8 x 12, 4 x 6 and 2 x 3, and a level of 1 x 2 is made: 128 cells."""
    summary = summarize_backbone("resnet18", head="FCOSHead", num_classes=5, image_size=(64, 96))
    layers = {layer.name: layer for layer in summary.layers}
    cells = 96 + 24 + 6 + 2
    assert sum(each.multiply_adds for each in summary.layers if each.name == "head.classes") == cells * 96 * 9 * 5
    assert layers["head"].multiply_adds == cells * 96 * 9 * 5  # four sides and the centrality
    assert layers["head"].output == (cells, 4)


def test_the_second_look_is_counted_for_as_many_proposals_as_there_may_be() -> None:
    """300 regions of 256 channels in 7 x 7 bins, two layers of 1024, five classes and the background."""
    summary = summarize_backbone("resnet18", head="FasterRCNNHead", num_classes=5, image_size=(64, 96))
    layers = {layer.name: layer for layer in summary.layers}
    assert layers["head.hidden.0"].multiply_adds == 300 * 256 * 49 * 1024
    assert layers["head.hidden.2"].multiply_adds == 300 * 1024 * 1024
    assert layers["head.classes"].multiply_adds == 300 * 1024 * 6
    assert layers["head"].output == (300, 5, 4)
    network = build_network("resnet18", head="FasterRCNNHead", num_classes=5)
    assert summary.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_an_image_may_be_oblong_and_of_other_channels() -> None:
    summary = summarize_backbone("resnet18", image_size=(64, 96), in_chans=1)
    assert summary.image == (1, 64, 96)
    assert summary.layers[0].output == (64, 32, 48)
    assert summary.layers[0].weights == 64 * 49


def test_a_local_folder_brings_its_own_arguments(tmp_path: Path) -> None:
    save_local_dir(timm.create_model("lenet5", num_classes=7, in_chans=3), tmp_path / "net")
    summary = summarize_backbone(f"local-dir:{tmp_path / 'net'}")
    assert summary.image == (3, 32, 32)
    assert summary.layers[-1].output == (7,)


def test_nothing_is_computed_and_no_memory_taken() -> None:
    assert all(parameter.is_meta for parameter in build_network("vgg19").parameters())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet5O'.*did you mean resnet50"):
        summarize_backbone("resnet5O")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no .*config.json"):
        summarize_backbone(f"local-dir:{tmp_path / 'nothing'}")


def test_an_unknown_head_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"--head UnetHead is unknown; did you mean UNetHead\?"):
        build_network("resnet18", head="UnetHead", num_classes=2)


def test_a_head_needs_a_number_of_classes() -> None:
    with pytest.raises(InputError, match="--head LinearHead needs --num-classes"):
        build_network("resnet18", head="LinearHead")


def test_classes_need_a_classifier_or_a_head() -> None:
    with pytest.raises(InputError, match="--num-classes needs a classifier or a head"):
        build_network("resnet18", classifier=False, num_classes=3)


def test_a_head_that_does_not_fit_names_the_network() -> None:
    with pytest.raises(InputError, match="--head FCNHead does not fit lenet5: the head's stride is 8"):
        build_network("lenet5", head="FCNHead", num_classes=3)


def test_a_size_that_the_network_does_not_take_names_its_own() -> None:
    with pytest.raises(InputError, match=r"alexnet does not run on an image of 3x32x32: .*--image-size 227x227 is"):
        summarize_backbone("alexnet", image_size=(32, 32))
