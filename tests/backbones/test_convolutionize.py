from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from visiontasks.backbones import convolutionize, create_vector, to_classifier
from visiontasks.errors import InputError

Built = Callable[[str], nn.Module]

# Networks with fully connected layers, global pooling, a linear layer before the last one, a normalization after the
# pool; the tiny widths do not change the form.
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("lenet5", {}),
    ("vgg11", {"mlp_ratio": 0.01}),
    ("resnet18", {}),
    ("resnet20_cifar", {}),
    ("googlenet", {}),
    ("mobilenetv2_035", {}),
    ("mobilenetv3_small_050", {}),
    ("test_convnext", {}),
]
SMALL = pytest.mark.parametrize("name", ["lenet5", "resnet20_cifar", "test_efficientnet"])


def images(model: nn.Module, height: int, width: int) -> torch.Tensor:
    return torch.randn(1, model.pretrained_cfg["input_size"][0], height, width)


def same(logits: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture(params=NETWORKS, ids=lambda network: network[0])
def classifier(request: pytest.FixtureRequest) -> nn.Module:
    name, arguments = request.param
    return timm.create_model(name, **arguments).eval()


@torch.no_grad()
def test_logits_are_the_classifiers_at_the_training_size(classifier: nn.Module) -> None:
    size = classifier.pretrained_cfg["input_size"][-1]
    image = images(classifier, size, size)
    logits = convolutionize(classifier)(image)
    assert logits.shape[2:] == (1, 1)
    same(logits[..., 0, 0], classifier(image))


@pytest.fixture(params=["alexnet", "alexnet_tv"])
def alexnet(request: pytest.FixtureRequest, built: Built) -> nn.Module:
    return built(request.param)


@torch.no_grad()
def test_alexnets_logits_are_the_same_at_the_training_size_and_a_map_beyond(alexnet: nn.Module) -> None:
    convolutional = convolutionize(alexnet)
    size = alexnet.pretrained_cfg["input_size"][-1]
    image = images(alexnet, size, size)
    same(convolutional(image)[..., 0, 0], alexnet(image))
    assert convolutional(images(alexnet, size + 64, size + 32)).shape == (1, 1000, 3, 2)


@torch.no_grad()
def test_each_logit_is_the_classifiers_of_a_window_without_padding(built: Built) -> None:
    lenet = built("lenet5")  # stride 4, no padding, 32 x 32
    image = images(lenet, 40, 37)
    logits = convolutionize(lenet)(image)
    assert logits.shape == (1, 10, 3, 2)
    for row in range(3):
        for column in range(2):
            window = image[..., 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
            same(logits[..., row, column], lenet(window))


@torch.no_grad()
def test_global_pool_becomes_a_moving_average(built: Built) -> None:
    resnet = built("resnet20_cifar")  # stride 4: 8 x 8 at the training size, 10 x 9 here
    image = images(resnet, 40, 36)
    pooled = F.avg_pool2d(resnet.forward_features(image), 8, stride=1)
    expected = F.conv2d(pooled, resnet.fc.weight[:, :, None, None], resnet.fc.bias)
    logits = convolutionize(resnet)(image)
    assert logits.shape == (1, 10, 3, 2)
    same(logits, expected)


@torch.no_grad()
def test_vgg_gives_a_map_instead_of_its_mean() -> None:
    vgg = timm.create_model("vgg11", mlp_ratio=0.01, num_classes=5).eval()
    image = images(vgg, 256, 288)
    logits = convolutionize(vgg)(image)
    assert logits.shape == (1, 5, 2, 3)
    same(logits.mean((2, 3)), vgg(image))


@SMALL
@torch.no_grad()
def test_smaller_images_get_the_classifiers_logits(name: str, built: Built) -> None:
    model = built(name)
    size = model.pretrained_cfg["input_size"][-1]
    image = images(model, size - 5, size - 7)
    same(convolutionize(model)(image)[..., 0, 0], model(image))


@torch.no_grad()
def test_window_is_that_of_the_given_size(built: Built) -> None:
    model = built("resnet20_cifar")
    image = images(model, 48, 48)
    convolutional = convolutionize(model, size_px=48)
    same(convolutional(image)[..., 0, 0], model(image))
    assert convolutional(images(model, 52, 48)).shape == (1, 10, 2, 1)


@torch.no_grad()
def test_vector_view_and_linear_head_become_a_map_of_logits() -> None:
    backbone = create_vector("resnet20_cifar", weights="none").eval()
    weight, bias = torch.randn(3, 64), torch.randn(3)
    convolutional = convolutionize(to_classifier(backbone, weight, bias))
    image = torch.randn(2, 3, 32, 32)
    same(convolutional(image)[..., 0, 0], F.linear(backbone(image), weight, bias))


@SMALL
def test_classifier_and_its_mode_do_not_change(name: str, built: Built) -> None:
    model = built(name)
    model.train()
    model.get_classifier().eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    convolutional = convolutionize(model)
    for parameter in convolutional.parameters():
        parameter.data.fill_(0)
    modes = [(m.training, m.get_classifier().training) for m in (model, convolutional)]
    model.eval()
    assert modes == [(True, False)] * 2
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@SMALL
def test_every_weight_remains(name: str, built: Built) -> None:
    model = built(name)
    ours, theirs = convolutionize(model).state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key].flatten(), theirs[key].flatten()) for key in ours)


def test_gradients_reach_every_weight() -> None:
    convolutional = convolutionize(timm.create_model("lenet5"))
    convolutional(torch.randn(1, 1, 40, 37)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in convolutional.parameters())


def test_network_for_grey_images_is_checked_on_grey_images() -> None:
    convolutional = convolutionize(timm.create_model("resnet10t", in_chans=1, num_classes=4))
    assert convolutional.eval()(torch.randn(1, 1, 256, 256)).shape[1] == 4


def test_bfloat16_network_is_taken(built: Built) -> None:
    model = timm.create_model("resnet20_cifar").eval().bfloat16()
    assert convolutionize(model)(images(model, 36, 32).bfloat16()).shape == (1, 10, 2, 1)


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("test_vit", {}, "VisionTransformer cannot be made fully convolutional: it has no pool"),
        ("resnet10t", {"global_pool": "max"}, "needs an average pool, got global_pool='max'"),
    ],
)
def test_network_of_another_form_is_refused(name: str, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        convolutionize(timm.create_model(name, **arguments))


def test_size_at_which_the_logits_would_differ_is_refused(built: Built) -> None:
    with pytest.raises(InputError, match="LeNet5 .*: its logits at 48 x 48 would differ"):
        convolutionize(built("lenet5"), size_px=48)
