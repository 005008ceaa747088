"""Which image sizes networks take, and what timm builds for another one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from visiontasks.backbones import (
    create_pyramid,
    create_vector,
    explained_size,
    input_size,
    save_config,
    save_local_dir,
    size_fault,
    takes_any_size,
    vary_size,
)
from visiontasks.errors import InputError

Create = Callable[..., nn.Module]
both_views = pytest.mark.parametrize("create", [create_vector, create_pyramid], ids=["vector", "pyramid"])

# of each family of vision transformers one, with a size that its patches and windows divide and that is not its own
TRANSFORMERS = {
    "vit_tiny_patch16_224": (64, 96),
    "deit_tiny_distilled_patch16_224": (64, 96),
    "beit_base_patch16_224": (64, 96),
    "eva02_tiny_patch14_224": (56, 84),
    "vit_small_patch14_reg4_dinov2": (56, 84),
    "vit_small_patch16_dinov3": (64, 96),
    "swin_tiny_patch4_window7_224": (64, 96),
    "maxvit_tiny_tf_224": (64, 96),
    "hiera_tiny_224": (64, 96),
    "volo_d1_224": (64, 96),
    "vit_relpos_small_patch16_224": (64, 96),
    "samvit_base_patch16_224": (64, 96),
}
VIT = "vit_tiny_patch16_224"
HEAVY = {"beit_base_patch16_224", "swin_tiny_patch4_window7_224", "maxvit_tiny_tf_224", "hiera_tiny_224", "volo_d1_224"}
TAKE_MORE = {"vit_small_patch16_dinov3", "samvit_base_patch16_224"}  # any multiple of the patch, as they are


def on_meta(create: Create, name: str, size: tuple[int, int] | int | None = None) -> nn.Module:
    with torch.device("meta"):
        return create(name, weights="none", image_size=size)


@both_views
@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(*each, id=each[0], marks=[pytest.mark.slow] if each[0] in HEAVY else [])
        for each in TRANSFORMERS.items()
    ],
)
def test_a_transformer_is_built_for_the_images_that_it_gets(create: Create, name: str, size: tuple[int, int]) -> None:
    backbone = on_meta(create, name, size)
    assert size_fault(backbone, size) == ""
    assert not takes_any_size(backbone)
    assert input_size(backbone) == (input_size(on_meta(create, name)) if name in TAKE_MORE else size)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv2_100", "vgg11", "lenet5", "alexnet"])
def test_a_convolutional_network_stays_as_it_is_and_takes_any_size(name: str) -> None:
    backbone = on_meta(create_vector, name, (240, 320))
    assert "img_size" not in backbone._model_args
    assert takes_any_size(backbone)


@pytest.mark.parametrize(
    ("name", "size", "reason", "proposed"),
    [
        ("vit_tiny_patch16_224", 60, "60 px (not a multiple of its patches of 16x16 px)", "64"),
        ("vit_small_patch16_dinov3", 60, "60 px (not a multiple of its patches of 16x16 px)", "64"),
        ("vit_small_patch14_reg4_dinov2", (240, 320), "240x320 px (not a multiple of its", "[238, 322]"),
        ("vit_tiny_patch16_224", 3, "3 px (not a multiple of its patches of 16x16 px)", "16"),
        ("efficientformer_l1", 64, "64 px (Attempting to broadcast", "224"),  # has no img_size
        ("dla34", 60, "60 px (Attempting to broadcast", "64"),
    ],
)
def test_a_size_that_cannot_be_had_is_refused_with_the_nearest_that_can(
    name: str, size: int | tuple[int, int], reason: str, proposed: str
) -> None:
    with pytest.raises(InputError) as raised:
        on_meta(create_vector, name, size)
    assert str(raised.value).startswith(f"the backbone cannot take images of {reason}")
    assert str(raised.value).endswith(f": set data.init_args.image_size to {proposed}")


@both_views
def test_images_of_another_size_are_refused_where_they_are_shown(create: Create) -> None:
    backbone = create(VIT, weights="none", image_size=(32, 48))
    match = r"cannot take images of 48x32 px \(it was built for 32x48\): set data.init_args.image_size to \[32, 48\]$"
    with pytest.raises(InputError, match=match):
        backbone(torch.zeros(1, 3, 48, 32))
    with pytest.raises(InputError, match="it was built for 224x224"):
        create(VIT, weights="none")(torch.zeros(2, 3, 64, 64))


def test_what_has_another_reason_is_raised_as_it_is() -> None:
    backbone = create_vector("lenet5", weights="none", in_chans=1)
    with pytest.raises(RuntimeError, match="channels"), explained_size(backbone, torch.zeros(1, 3, 64, 64)):
        backbone(torch.zeros(1, 3, 64, 64))
    with (
        pytest.raises(InputError, match=r"cannot take images of 4 px \(.*: set data.init_args.image_size to 32$"),
        explained_size(backbone, torch.zeros(1, 1, 4, 4)),
    ):
        backbone(torch.zeros(1, 1, 4, 4))


def test_trying_a_size_leaves_modes_and_statistics() -> None:
    backbone = create_vector("resnet20_cifar", weights="none").train()
    backbone.bn1.eval()
    before = [tensor.clone() for tensor in backbone.state_dict().values()]
    assert size_fault(backbone, (20, 30)) == ""
    assert (backbone.training, backbone.bn1.training) == (True, False)
    assert all(torch.equal(old, new) for old, new in zip(before, backbone.state_dict().values(), strict=True))


def trained_vit(size: tuple[int, int] | int) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(VIT, img_size=size, num_classes=0)
    nn.init.normal_(model.pos_embed)
    return model.eval()


def resampled(model: nn.Module, grid: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """Position embeddings without the class token's, as timm resamples them, at another grid."""
    spatial = model.pos_embed[:, 1:].reshape(1, *grid, -1).permute(0, 3, 1, 2)
    larger = nn.functional.interpolate(spatial, size=new, mode="bicubic", antialias=True, align_corners=False)
    return larger.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1)


@both_views
@pytest.mark.parametrize("kind", ["file", "folder", "run"])
def test_position_embeddings_of_weights_are_resampled(create: Create, kind: str, tmp_path: Path) -> None:
    source = trained_vit((64, 256))  # 4 x 16 patches, which could be taken for 8 x 8
    if kind == "file":
        source = trained_vit(96)  # a file alone does not know that it is oblong
        torch.save(source.state_dict(), tmp_path / "a.pth")
    elif kind == "folder":
        save_local_dir(source, tmp_path)
    else:
        (tmp_path / "checkpoints").mkdir()
        state = {f"backbone.{name}": tensor for name, tensor in source.state_dict().items()}
        torch.save({"state_dict": state}, tmp_path / "checkpoints" / "best.ckpt")
        save_config(source, tmp_path / "backbone")
    weights = tmp_path / "a.pth" if kind == "file" else tmp_path
    backbone = create(VIT, weights=str(weights), image_size=(32, 48))
    found = backbone.state_dict()
    key = "pos_embed" if create is create_vector else "model.pos_embed"
    with torch.no_grad():
        expected = resampled(source, (6, 6) if kind == "file" else (4, 16), (2, 3))
    torch.testing.assert_close(found[key][:, 1:], expected)
    torch.testing.assert_close(found[key][:, :1], source.pos_embed[:, :1].detach())


def test_a_run_is_built_again_for_the_size_that_it_was_trained_at(tmp_path: Path) -> None:
    save_config(create_pyramid(VIT, weights="none", image_size=(32, 48)), tmp_path)
    assert input_size(create_pyramid(f"local-dir:{tmp_path}", weights="none")) == (32, 48)
    assert input_size(create_vector(f"local-dir:{tmp_path}", weights="none", image_size=64)) == (64, 64)


def test_a_transformer_whose_size_may_vary_resamples_as_one_that_timm_builds_so() -> None:
    fixed, dynamic = (timm.create_model("test_vit", dynamic_img_size=each).eval() for each in (False, True))
    dynamic.load_state_dict(fixed.state_dict())
    own, small = torch.randn(1, 3, 160, 160), torch.randn(1, 3, 96, 128)
    expected = fixed(own)
    undo = vary_size(fixed)
    torch.testing.assert_close(fixed(own), expected, rtol=0, atol=0)
    torch.testing.assert_close(fixed(small), dynamic(small), rtol=0, atol=0)
    undo()
    torch.testing.assert_close(fixed(own), expected, rtol=0, atol=0)
    with pytest.raises(AssertionError):
        fixed(small)
