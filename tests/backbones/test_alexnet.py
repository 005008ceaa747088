from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import nn

from visiontasks.backbones.alexnet import rename_torchvision_keys, response_norm

Built = Callable[[str], nn.Module]


@pytest.fixture(scope="module")
def torchvision_alexnet() -> nn.Module:
    torch.manual_seed(1)
    return torchvision.models.alexnet().eval()


def test_parameters_of_the_2012_network_by_layer() -> None:
    with torch.device("meta"):
        model = timm.create_model("alexnet")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    # Two groups halve what a map of layers 2, 4 and 5 sees: 48, 192 and 192 channels.
    by_hand = [
        96 * 3 * 121 + 96,
        256 * 48 * 25 + 256,
        384 * 256 * 9 + 384,
        384 * 192 * 9 + 384,
        256 * 192 * 9 + 256,
        9216 * 4096 + 4096,
        4096 * 4096 + 4096,
        4096 * 1000 + 1000,
    ]
    assert [sum(p.numel() for p in m.parameters()) for m in layers] == by_hand
    assert sum(by_hand) == 60_965_224


def test_parameters_of_torchvisions_network_are_torchvisions(count: Callable[..., int]) -> None:
    assert count("alexnet_tv") == torchvision.models.AlexNet_Weights.IMAGENET1K_V1.meta["num_params"]


def test_maps_at_227_pixels_are_55_27_13_and_6() -> None:
    with torch.device("meta"):
        model = timm.create_model("alexnet", features_only=True)
        maps = model(torch.zeros(1, 3, 227, 227))
    assert [tuple(m.shape[1:]) for m in maps] == [(96, 55, 55), (256, 27, 27), (256, 13, 13), (256, 6, 6)]


def test_response_norm_is_the_papers_formula() -> None:
    maps = torch.tensor([100.0, 200.0, 0.0, 0.0, 0.0, 300.0]).view(1, 6, 1, 1)
    # Map 0 sees maps 0..2: 100^2 + 200^2 = 50,000; 100 / (2 + 1e-4 * 50,000)^0.75 = 100 / 7^0.75.
    # Map 3 sees maps 1..5, but is 0; map 5 sees maps 3..5: 300 / (2 + 9)^0.75.
    out = response_norm()(maps).flatten().tolist()
    assert out[0] == pytest.approx(100 / 7**0.75)
    assert out[3] == 0
    assert out[5] == pytest.approx(300 / 11**0.75)


def test_second_layer_depends_only_on_its_half_of_the_first(built: Built) -> None:
    conv2 = built("alexnet").features[4]
    maps = torch.zeros(1, 96, 5, 5)
    silent = conv2(maps)
    maps[:, 48:] = 1
    changed = (conv2(maps) != silent).flatten(2).any(2)[0]
    assert not changed[:128].any()
    assert changed[128:].all()


def test_biases_start_at_one_in_layers_2_4_5_and_the_hidden_ones(built: Built) -> None:
    model = built("alexnet")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [layer.bias.unique().tolist() for layer in layers] == [[0], [1], [0], [1], [1], [1], [1], [0]]
    assert layers[2].weight.std().item() == pytest.approx(0.01, rel=0.01)


def test_pool_is_the_identity_at_the_papers_size(built: Built) -> None:
    model = built("alexnet")
    with torch.no_grad():
        features = model.forward_features(torch.rand(1, 3, 227, 227))
    assert torch.equal(model.pool(features), features)


def test_dropout_of_the_2012_network_acts_on_the_vector_in_training(built: Built) -> None:
    model = built("alexnet")
    features = torch.rand(1, 256, 6, 6)
    with torch.no_grad():
        dropped = model.train().forward_head(features, pre_logits=True)
        hidden = model.eval().forward_head(features, pre_logits=True)
    # Biases of 1 keep most units above 0 at the start, so zeros come from the dropout.
    assert (hidden == 0).float().mean() < 0.2
    assert (dropped == 0).float().mean() > 0.4


@pytest.mark.parametrize("size", [224, 96])
def test_outputs_are_torchvisions_with_torchvisions_weights(
    size: int, built: Built, torchvision_alexnet: nn.Module
) -> None:
    model = built("alexnet_tv")
    model.load_state_dict(rename_torchvision_keys(torchvision_alexnet.state_dict(), model))
    image = torch.rand(1, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(model(image), torchvision_alexnet(image), atol=1e-5, rtol=1e-5)


def test_own_key_names_pass_the_renaming_unchanged() -> None:
    with torch.device("meta"):
        model = timm.create_model("alexnet_tv")
    assert rename_torchvision_keys(model.state_dict(), model).keys() == model.state_dict().keys()


def test_global_pool_is_refused() -> None:
    with torch.device("meta"):
        model = timm.create_model("alexnet")
    with pytest.raises(ValueError, match="global_pool is 'max'"):
        model.reset_classifier(5, global_pool="max")
