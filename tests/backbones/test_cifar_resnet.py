import math
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F

from visiontasks.backbones.cifar_resnet import BasicBlock, CifarResNet

# By hand, each convolution with its batch norm: stem 3*16*9 + 2*16; a block of width w: 2 * (9*w*w + 2*w); the
# first block of a stage has 9*(w/2)*w in its first convolution; classifier 64*10 + 10.
STEM = 432 + 32
BLOCK = {16: 4672, 32: 18560, 64: 73984}
FIRST = {32: 4608 + 9216 + 128, 64: 18432 + 36864 + 256}


def by_hand(n: int) -> int:
    return STEM + n * BLOCK[16] + FIRST[32] + (n - 1) * BLOCK[32] + FIRST[64] + (n - 1) * BLOCK[64] + 650


@pytest.mark.parametrize(
    ("name", "n", "parameters"),
    [
        ("resnet20_cifar", 3, 269_722),
        ("resnet32_cifar", 5, 464_154),
        ("resnet44_cifar", 7, 658_586),
        ("resnet56_cifar", 9, 853_018),
        ("resnet110_cifar", 18, 1_727_962),
        ("plain20_cifar", 3, 269_722),
        ("plain56_cifar", 9, 853_018),
    ],
)
def test_parameters_are_those_of_the_paper(name: str, n: int, parameters: int, count: Callable[..., int]) -> None:
    assert count(name) == by_hand(n) == parameters


def test_shortcut_takes_every_second_pixel_and_fills_new_channels_with_zeros() -> None:
    block = BasicBlock(1, 2, stride=2, shortcut=True).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    out = block(image)
    assert out[0, 0].tolist() == [[1, 3], [7, 9]]
    assert out[0, 1].tolist() == [[0, 0], [0, 0]]


def test_plain_block_has_no_shortcut() -> None:
    block = BasicBlock(1, 1, stride=1, shortcut=False).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    assert not block(torch.ones(1, 1, 3, 3)).any()


def test_plain_network_equals_the_residual_one_in_all_but_the_shortcut() -> None:
    plain, residual = timm.create_model("plain20_cifar"), timm.create_model("resnet20_cifar")
    plain.load_state_dict(residual.state_dict())
    image = torch.rand(2, 3, 32, 32)
    assert not torch.allclose(plain.eval()(image), residual.eval()(image))


def test_maps_at_32_pixels_are_those_of_the_paper() -> None:
    maps = timm.create_model("resnet20_cifar", features_only=True)(torch.zeros(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_odd_sizes_round_up() -> None:
    maps = timm.create_model("resnet20_cifar", features_only=True)(torch.zeros(1, 3, 33, 31))
    assert [tuple(m.shape[2:]) for m in maps] == [(33, 31), (17, 16), (9, 8)]


def test_convolutions_start_with_the_variance_of_he_et_al() -> None:
    weight = timm.create_model("resnet20_cifar").layer3[0].conv1.weight  # from 32 to 64 channels
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 32)), rel=0.02)


def test_first_loss_is_close_to_ln_of_the_number_of_classes() -> None:
    logits = timm.create_model("resnet20_cifar")(torch.rand(16, 3, 32, 32))
    loss = F.cross_entropy(logits, torch.arange(16) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.1)


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_depth_other_than_6n_plus_2_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth is {depth}, expected 6n"):
        CifarResNet(depth)


def test_normalization_is_that_of_cifar10() -> None:
    cfg = timm.create_model("resnet20_cifar").pretrained_cfg
    assert cfg["mean"] == (0.4914, 0.4822, 0.4465)
    assert cfg["std"] == (0.2470, 0.2435, 0.2616)
    assert cfg["input_size"] == (3, 32, 32)


def test_dropout_before_the_classifier_acts_in_training_only() -> None:
    model = timm.create_model("resnet20_cifar", drop_rate=0.5)
    features = torch.ones(1, 64, 8, 8)
    assert (model.forward_head(features, pre_logits=True) == 0).any()
    assert (model.eval().forward_head(features, pre_logits=True) == 1).all()
