from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import timm.models._builder
import torch
from torch import Tensor, nn

from visiontasks.backbones import create_pyramid, create_vector, normalization, save_local_dir, save_weights
from visiontasks.errors import InputError

Create = Callable[..., nn.Module]
both_views = pytest.mark.parametrize("create", [create_vector, create_pyramid], ids=["vector", "pyramid"])


def trained(name: str, **model_args: object) -> nn.Module:
    """A network whose every tensor, running statistics included, differs from a fresh one's."""
    model = timm.create_model(name, **model_args)
    for tensor in model.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.tensor(7))
    return model


def run_checkpoint(backbone: nn.Module, path: Path) -> str:
    """What Lightning writes for a task with this backbone."""
    state = {f"backbone.{key}": tensor for key, tensor in backbone.state_dict().items()}
    state["head.linear.weight"] = torch.ones(3, 4)
    torch.save({"state_dict": state, "epoch": 1, "pytorch-lightning_version": "2.6.6"}, path)
    return str(path)


def holds(backbone: nn.Module, source: dict[str, Tensor]) -> bool:
    """Whether each tensor of the backbone equals the one of that name, features_0 being features.0."""
    own = {key.replace("features_", "features."): tensor for key, tensor in backbone.state_dict().items()}
    return all(torch.equal(tensor, source[key]) for key, tensor in own.items())


@both_views
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["resnet20_cifar", "lenet5"])
def test_file_fills_every_tensor(create: Create, suffix: str, name: str, tmp_path: Path) -> None:
    source, path = trained(name), tmp_path / f"a{suffix}"
    save_weights(source, path) if suffix == ".safetensors" else torch.save(source.state_dict(), path)
    assert holds(create(name, weights=str(path), in_chans=source.in_chans), source.state_dict())


@both_views
def test_folder_fills_every_tensor(create: Create, tmp_path: Path) -> None:
    source = trained("resnet20_cifar", num_classes=3)
    save_local_dir(source, tmp_path)
    for name, weights in [
        (f"local-dir:{tmp_path}", "hub"),
        ("resnet20_cifar", str(tmp_path)),
        ("resnet20_cifar", f"local-dir:{tmp_path}"),
    ]:
        assert holds(create(name, weights=weights), source.state_dict())


def test_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    source = trained("lenet5")
    save_local_dir(source, tmp_path / "folder")
    for name, weights in [
        ("local-dir:~/folder", "hub"),
        ("lenet5", "~/folder"),
        ("lenet5", "~/folder/model.safetensors"),
    ]:
        assert holds(create_vector(name, weights=weights, in_chans=1), source.state_dict())


def test_folder_brings_its_arguments_and_its_normalization(tmp_path: Path) -> None:
    overlay = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    source = timm.create_model("mobilenetv2_035", pad_type="same", pretrained_cfg_overlay=overlay).eval()
    save_local_dir(source, tmp_path)
    backbone = create_vector("mobilenetv2_035", weights=str(tmp_path)).eval()
    image = torch.rand(1, 3, 33, 33)
    with torch.no_grad():
        expected = source.forward_head(source.forward_features(image), pre_logits=True)
        torch.testing.assert_close(backbone(image), expected)
    assert normalization(backbone).mean == (0.1, 0.2, 0.3)


def test_folder_without_weights_gives_the_architecture(tmp_path: Path) -> None:
    save_local_dir(trained("lenet5", in_chans=1), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert create_vector(f"local-dir:{tmp_path}", weights="none", in_chans=1).head_hidden_size == 84


def test_folder_of_another_architecture_is_refused(tmp_path: Path) -> None:
    save_local_dir(trained("lenet5"), tmp_path)
    with pytest.raises(InputError, match=r"is of lenet5, but model\.init_args\.backbone is resnet20_cifar"):
        create_vector("resnet20_cifar", weights=str(tmp_path))


@both_views
@pytest.mark.parametrize("name", ["resnet20_cifar", "lenet5", "test_efficientnet"])
def test_run_of_the_same_view_fills_every_tensor(create: Create, name: str, tmp_path: Path) -> None:
    trained_view = create(name, weights="none")
    for tensor in trained_view.state_dict().values():
        tensor.fill_(2)
    again = create(name, weights=run_checkpoint(trained_view, tmp_path / "best.ckpt"))
    assert all((tensor == 2).all() for tensor in again.state_dict().values())


def test_run_of_a_classification_fills_a_pyramid(tmp_path: Path) -> None:
    source = trained("resnet20_cifar", num_classes=0)
    backbone = create_pyramid("resnet20_cifar", weights=run_checkpoint(source, tmp_path / "best.ckpt"))
    assert holds(backbone, source.state_dict())


@both_views
@pytest.mark.parametrize("prefix", ["model.", "net.", "backbone.", "module.", "_orig_mod.", "model._orig_mod."])
def test_checkpoint_of_lightning_fills_every_tensor(create: Create, prefix: str, tmp_path: Path) -> None:
    source = trained("resnet20_cifar")
    state = {prefix + key: tensor for key, tensor in source.state_dict().items()} | {"criterion.weight": torch.ones(10)}
    torch.save({"state_dict": state, "hyper_parameters": {"lr": 0.1}, "epoch": 1}, tmp_path / "last.ckpt")
    assert holds(create("resnet20_cifar", weights=str(tmp_path / "last.ckpt")), source.state_dict())


def test_folder_of_a_run_gives_its_best_weights(tmp_path: Path) -> None:
    source = trained("resnet20_cifar", num_classes=0)
    (tmp_path / "checkpoints").mkdir()
    run_checkpoint(source, tmp_path / "checkpoints" / "best.ckpt")
    assert holds(create_vector("resnet20_cifar", weights=str(tmp_path)), source.state_dict())


def test_run_without_the_hidden_layers_does_not_fill_a_vector(tmp_path: Path) -> None:
    path = run_checkpoint(create_pyramid("lenet5", weights="none"), tmp_path / "best.ckpt")
    with pytest.raises(InputError, match="does not fill lenet5: missing .*hidden.0.weight"):
        create_vector("lenet5", weights=path)


def test_classifier_of_any_size_in_the_file_is_left_out(tmp_path: Path) -> None:
    source = trained("resnet20_cifar", num_classes=77)
    save_weights(source, tmp_path / "a.safetensors")
    assert holds(create_vector("resnet20_cifar", weights=str(tmp_path / "a.safetensors")), source.state_dict())


def test_grey_input_sums_the_first_convolution_over_the_colours(tmp_path: Path) -> None:
    source = trained("resnet20_cifar")
    save_weights(source, tmp_path / "a.safetensors")
    grey = create_vector("resnet20_cifar", weights=str(tmp_path / "a.safetensors"), in_chans=1)
    torch.testing.assert_close(grey.conv1.weight, source.conv1.weight.sum(1, keepdim=True))
    assert torch.equal(grey.layer1[0].conv1.weight, source.layer1[0].conv1.weight)


def test_weights_trained_on_grey_images_load_unchanged(tmp_path: Path) -> None:
    source = trained("resnet20_cifar", in_chans=1)
    path = run_checkpoint(source, tmp_path / "best.ckpt")
    assert torch.equal(create_vector("resnet20_cifar", weights=path, in_chans=1).conv1.weight, source.conv1.weight)


def test_half_precision_file_gives_a_float32_backbone(tmp_path: Path) -> None:
    save_weights(trained("resnet20_cifar").half(), tmp_path / "a.safetensors")
    backbone = create_vector("resnet20_cifar", weights=str(tmp_path / "a.safetensors"))
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}


@both_views
def test_missing_tensors_are_listed_ten_and_then_counted(create: Create, tmp_path: Path) -> None:
    state = trained("resnet20_cifar").state_dict()
    for key in [k for k in state if k.startswith("layer3")]:
        del state[key]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError) as error:
        create("resnet20_cifar", weights=str(tmp_path / "a.pth"))
    # 6 convolutions and 6 batch norms of 4 tensors, num_batches_tracked not counted: 30.
    assert "a.pth does not fill resnet20_cifar: missing layer3.0.conv1.weight, " in str(error.value)
    assert str(error.value).endswith("layer3.0.bn2.running_var and 20 more")
    assert str(error.value).count("layer3") == 10


@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "bn1.running_mean"])
def test_one_missing_tensor_is_found(name: str, tmp_path: Path) -> None:
    state = trained("resnet20_cifar").state_dict()
    del state[name]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=f"missing {name}$"):
        create_vector("resnet20_cifar", weights=str(tmp_path / "a.pth"))


def test_misshapen_tensors_are_listed_with_both_shapes(tmp_path: Path) -> None:
    state = trained("resnet20_cifar").state_dict()
    state["layer1.0.bn1.bias"] = torch.zeros(17)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(
        InputError, match=r"other shapes than resnet20_cifar: layer1\.0\.bn1\.bias \(17,\), expected \(16,\)$"
    ):
        create_vector("resnet20_cifar", weights=str(tmp_path / "a.pth"))


def test_deeper_network_of_the_same_shapes_is_refused(tmp_path: Path) -> None:
    """All of resnet20's tensors are in resnet32's file, in the right shapes."""
    save_weights(trained("resnet32_cifar"), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="belongs to another network than resnet20_cifar: unexpected layer1.3"):
        create_vector("resnet20_cifar", weights=str(tmp_path / "a.safetensors"))


def test_parts_that_the_network_knows_nothing_of_are_left_out(tmp_path: Path) -> None:
    source = trained("resnet20_cifar")
    state = source.state_dict() | {"decoder.weight": torch.ones(1)}
    torch.save(state, tmp_path / "a.pth")
    assert holds(create_vector("resnet20_cifar", weights=str(tmp_path / "a.pth")), source.state_dict())


def test_file_without_batch_counters_is_accepted(tmp_path: Path) -> None:
    source = trained("resnet20_cifar")
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "a.pth")
    backbone = create_vector("resnet20_cifar", weights=str(tmp_path / "a.pth"))
    assert torch.equal(backbone.bn1.running_var, source.bn1.running_var)


def test_file_that_breaks_the_networks_own_conversion_is_refused(tmp_path: Path) -> None:
    torch.save({"patch_embed.proj.weight": torch.ones(2, 3)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth (does not fill|has other shapes|is not for)"):
        create_vector("test_vit", weights=str(tmp_path / "a.pth"))


def test_network_without_pretrained_weights_is_an_error() -> None:
    with pytest.raises(InputError, match=r"zfnet has no pretrained weights: .*'none' or a file"):
        create_vector("zfnet", weights="hub")


def test_tag_without_weights_names_those_with() -> None:
    with pytest.raises(InputError, match=r"untrained has no pretrained weights: use one of resnext101_32x4d\."):
        create_vector("resnext101_32x4d.untrained", weights="hub")


def test_timm_loads_as_before_afterwards(tmp_path: Path) -> None:
    original = timm.models._builder.load_pretrained
    save_weights(trained("lenet5"), tmp_path / "a.safetensors")
    backbone = create_vector("lenet5", weights=str(tmp_path / "a.safetensors"), in_chans=1)
    with pytest.raises(InputError):
        create_vector("resnet20_cifar", weights=str(tmp_path / "a.safetensors"))
    assert timm.models._builder.load_pretrained is original
    assert not backbone._load_state_dict_pre_hooks


def test_hub_weights_come_from_the_cached_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = trained("resnet20_cifar")
    save_weights(source, tmp_path / "cached.safetensors")
    monkeypatch.setattr("visiontasks.backbones.weights.find_weights", lambda _: tmp_path / "cached.safetensors")
    assert holds(create_vector("resnet20_cifar", weights="hub"), source.state_dict())


def test_downloaded_weights_that_do_not_fill_the_backbone_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    downloaded = {"conv1.conv.weight": torch.ones(64, 3, 7, 7)}
    monkeypatch.setattr("visiontasks.backbones.weights.find_weights", lambda _: None)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", lambda *_, **__: downloaded)
    with pytest.raises(InputError, match=r"download of googlenet does not fill googlenet: missing conv1\.bn\.weight, "):
        create_vector("googlenet", weights="hub")
