"""Turns a fine-tuned backbone and its linear head into a plain timm classifier that timm alone can load."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import timm
import torch
from timm.models import get_pretrained_cfg, save_for_hf
from torch import Tensor, nn

from visiontasks.backbones.input_size import input_size
from visiontasks.errors import InputError
from visiontasks.library_internals import save_timm_config, timm_arguments


def to_classifier(backbone: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    """Join a vector view and a linear layer into the timm classifier that computes the same.

    Args:
        backbone: From create_vector; not changed.
        weight: Weight of the linear layer, (K, D).
        bias: Its bias, (K,).

    Returns:
        `timm.create_model(<the backbone's architecture>, num_classes=K)` with copies of all tensors, on the
        CPU, in eval mode.

    Raises:
        InputError: If the layer does not fit the backbone, or the architecture does not end in one linear
            layer.
    """
    source: Any = copy.deepcopy(backbone).cpu().eval()
    weight, bias = weight.detach().cpu(), bias.detach().cpu()
    width = source.head_hidden_size
    if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
        raise InputError(
            f"a linear layer with weight {tuple(weight.shape)} and bias {tuple(bias.shape)} does not fit the "
            f"backbone: expected (K, {width}) and (K,)"
        )
    classifier: Any = _untrained_classifier(source, len(bias)).eval()
    classifier.load_state_dict({**classifier.state_dict(), **source.state_dict()})
    last = classifier.get_classifier()
    if not isinstance(last, nn.Linear | nn.Conv2d) or last.weight.numel() != weight.numel():
        raise InputError(f"{type(backbone).__name__} does not end in one linear layer, but in {last}")
    last.load_state_dict({"weight": weight.reshape(last.weight.shape), "bias": bias})
    _check_same_output(classifier, source, weight, bias)
    return cast(nn.Module, classifier)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's tensors as safetensors, from any device and memory format; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(_plain_tensors(model), path, metadata={"format": "pt"})


def save_config(backbone: nn.Module, folder: Path) -> None:
    """Write config.json of a backbone of either view: architecture, arguments, mean and std, but no weights.

    `create_vector("local-dir:<folder>")` or `create_pyramid` then builds the same network, also one whose arguments or
    preprocessing came from the folder or file of its weights. The folder is made if necessary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_timm_config(_whole_network(backbone), str(folder / "config.json"))


def save_local_dir(
    model: nn.Module,
    folder: Path,
    *,
    class_names: Sequence[str] | None = None,
    data_config: Mapping[str, Any] | None = None,
) -> None:
    """Write a timm model as a folder that `timm.create_model("local-dir:<folder>", pretrained=True)` loads.

    Args:
        model: A timm model, for instance of to_classifier.
        folder: Gets config.json and model.safetensors; made if it is not there.
        class_names: Names of the classes, by index.
        data_config: Preprocessing that differs from the model's pretrained_cfg, in timm's terms:
             input_size (C, H, W), mean, std, crop_pct, crop_mode ("center", "squash", "border"),
            interpolation.

    Raises:
        InputError: If the number of names is not the number of classes.
    """
    num_classes = int(getattr(model, "num_classes", 0))
    if class_names is not None and len(class_names) != num_classes:
        raise InputError(f"got {len(class_names)} class names for {num_classes} classes")
    plain = copy.deepcopy(model).cpu()
    plain.load_state_dict(_plain_tensors(model), assign=True)
    labels = {"label_names": list(class_names)} if class_names is not None else {}
    save_for_hf(
        plain,
        str(folder),
        model_config=labels,
        safe_serialization=True,
        data_config=dict(data_config) if data_config is not None else None,
    )


def save_pyramid(backbone: nn.Module, folder: Path, *, data_config: Mapping[str, Any] | None = None) -> None:
    """Write a pyramid as a folder that timm loads, with features_only=True, as save_local_dir does of a whole model.

    Layers after the last map are left out.

    Args:
        backbone: From create_pyramid.
        folder: Gets config.json and model.safetensors; made if it is not there.
        data_config: See save_local_dir.

    Raises:
        InputError: If the network that timm loads from it computes other maps.
    """
    whole = _whole_network(backbone)
    folder.mkdir(parents=True, exist_ok=True)
    # timm accepts missing tensors only where the config names them as the classifier, even if there is none.
    classifier = get_pretrained_cfg(cast(Any, backbone).pretrained_cfg["architecture"])
    named = {"classifier": classifier.classifier} if classifier is not None and classifier.classifier else {}
    data = dict(data_config) if data_config is not None else None
    save_timm_config(whole, str(folder / "config.json"), {"pretrained_cfg": named}, data_config=data)
    tensors = _whole_names(_plain_tensors(backbone), whole)
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _check_same_maps(backbone, folder)


def pyramid_arguments(backbone: Any) -> dict[str, Any]:
    """Arguments of timm.create_model that give the view of a pyramid, all its maps."""
    noted = timm_arguments(backbone)
    return {"features_only": True} | {key: noted[key] for key in ("feature_cls",) if key in noted}


def _whole_network(backbone: Any) -> nn.Module:
    """The network that a pyramid is a part of, on the meta device; a vector view is returned as it is."""
    if hasattr(backbone, "num_classes"):
        return cast(nn.Module, backbone)
    of_pyramid = ("features_only", "out_indices", "feature_cls")
    noted = {name: value for name, value in timm_arguments(backbone).items() if name not in of_pyramid}
    if noted.get("num_classes") == 0:
        del noted["num_classes"]
    cfg = backbone.pretrained_cfg
    with torch.device("meta"):
        return timm.create_model(cfg["architecture"], pretrained_cfg=cfg, **noted)


def _whole_names(tensors: Mapping[str, Tensor], whole: nn.Module) -> dict[str, Tensor]:
    """A pyramid's tensors by their names in the whole network: timm's wrappers join parts by "_", or add a prefix."""
    names = {name.replace(".", "_"): name for name in whole.state_dict()}
    renamed = {}
    for name, tensor in tensors.items():
        candidates = (name, name.partition(".")[2])
        found = next((names[each.replace(".", "_")] for each in candidates if each.replace(".", "_") in names), None)
        if found is None:
            raise InputError(f"{name} of the pyramid has no counterpart in {type(whole).__name__}")
        renamed[found] = tensor
    return renamed


@torch.no_grad()
def _check_same_maps(backbone: Any, folder: Path) -> None:
    indices = tuple(backbone.feature_info.out_indices)
    name = str(backbone.pretrained_cfg["architecture"])
    try:
        loaded = timm.create_model(
            f"local-dir:{folder}", pretrained=True, out_indices=indices, **pyramid_arguments(backbone)
        )
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"timm cannot load the part of {name} that a pyramid has: {str(error)[:300]}") from error
    image = torch.rand(1, backbone.in_chans, *input_size(backbone), generator=torch.Generator().manual_seed(0))
    expected = copy.deepcopy(backbone).cpu().eval()(image)
    for found, right in zip(loaded.eval()(image), expected, strict=True):
        if not torch.allclose(found, right, rtol=1e-3, atol=1e-4 * float(right.abs().max())):
            raise InputError(f"timm loads {name} to other feature maps than it was saved with")


def _untrained_classifier(backbone: Any, num_classes: int) -> nn.Module:
    """The same network with a classifier, from the arguments that timm stored when it built the backbone."""
    cfg = backbone.pretrained_cfg
    noted = {**timm_arguments(backbone), "num_classes": num_classes}
    return timm.create_model(cfg["architecture"], pretrained_cfg=cfg, **noted)


@torch.no_grad()
def _check_same_output(classifier: nn.Module, backbone: Any, weight: Tensor, bias: Tensor) -> None:
    image = torch.rand(2, backbone.in_chans, *input_size(backbone), generator=torch.Generator().manual_seed(0))
    expected = nn.functional.linear(backbone(image), weight, bias)
    if not torch.allclose(classifier(image), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())):
        raise InputError(f"{type(backbone).__name__} with a linear layer differs from timm's classifier of that name")


def _plain_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU, contiguous, as safetensors needs them: channels_last weights are not."""
    return {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
