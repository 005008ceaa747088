"""Builds a backbone and fills it with weights, and checks that every tensor of it was filled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from visiontasks.backbones.audit import BUILD_ERRORS, Audit, audited_loading
from visiontasks.backbones.hub import check_download, find_weights, missing_weights
from visiontasks.backbones.input_size import Size, sized_arguments
from visiontasks.backbones.names import LOCAL_DIR, architecture_of, check_name
from visiontasks.backbones.weight_files import read_weights, strip_prefix
from visiontasks.errors import InputError
from visiontasks.runs.folder import BACKBONE, BEST

INITIALIZERS: tuple[Any, ...] = (
    *(Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_),
    *(nn.init.kaiming_normal_, nn.init.kaiming_uniform_),
)


def build(name: str, *, weights: str, model_args: Mapping[str, Any], image_size: Size | None = None) -> nn.Module:
    """Build `timm.create_model(name, **model_args)` with weights.

    Args:
        name: A timm name, with or without a tag, or "local-dir:FOLDER".
        weights: "hub", "none", or the path of a weight file, of a run's folder (its best checkpoint), or of a
            timm local-dir folder. The last brings its architecture arguments, mean and std along, so it has
            to be of the architecture that `name`.
        model_args: Arguments of timm.create_model that choose the view.
        image_size: Height and width of the images; by default those that the weights were
            trained with.

    Raises:
        InputError: If the name is unknown, the network cannot give this view or take such images, or the
            weights do not fill it.
        MissingFileError: If the weights are not there and cannot be downloaded.
    """
    if name.startswith(LOCAL_DIR):
        name = f"{LOCAL_DIR}{Path(name.removeprefix(LOCAL_DIR)).expanduser()}"
    check_name(name)
    if not weights:
        raise InputError("model.init_args.weights is empty: expected hub, none, or the path of a file or folder")
    from_file = weights not in ("none", "hub") or (weights == "hub" and name.startswith(LOCAL_DIR))
    path = Path((name if weights == "hub" else weights).removeprefix(LOCAL_DIR)).expanduser()
    if from_file:
        path = path / BEST if (path / BEST).is_file() else path
        folder = path.parents[1] / BACKBONE if _has_config_of_run(path) else path
        name = _name_of_folder(folder, name) if folder.is_dir() else name
    if image_size is not None:
        model_args = {**model_args, **sized_arguments(lambda more: _on_meta(name, {**model_args, **more}), image_size)}
    if from_file:
        return _build_from_file(name, path, model_args)
    return _create(name, model_args) if weights == "none" else _build_from_hub(name, model_args)


def check_weights(name: str) -> None:
    """Check, without building anything, that `build(name, weights="hub")` finds its weights.

    Raises:
        InputError: If the name is unknown or has no pretrained weights.
        MissingFileError: Within 5 s, if they are not on this machine and cannot be downloaded.
    """
    check_name(name)
    if not name.startswith(LOCAL_DIR):
        find_weights(name)


def _has_config_of_run(path: Path) -> bool:
    """Whether a weight file is a run's checkpoint whose folder has the backbone's config.json."""
    return path.suffix == ".ckpt" and len(path.parents) > 1 and (path.parents[1] / BACKBONE / "config.json").is_file()


def _name_of_folder(folder: Path, name: str) -> str:
    local_name = f"{LOCAL_DIR}{folder}"
    check_name(local_name)
    if architecture_of(local_name) != architecture_of(name):
        raise InputError(
            f"model.init_args.weights {folder} is of {architecture_of(local_name)}, "
            f"but model.init_args.backbone is {name}: give model.init_args.backbone {local_name}"
        )
    return local_name


def _build_from_hub(name: str, model_args: Mapping[str, Any]) -> nn.Module:
    path = find_weights(name)
    if path is not None:
        return _build_from_file(name, path, model_args)
    audit = Audit(f"the download of {name}")
    try:
        backbone = _create_pretrained(name, model_args, audit, None)
    except InputError:
        raise
    except OSError as error:
        raise missing_weights(name, f"{type(error).__name__}: {str(error)[:200]}") from error
    check_download(name)
    return backbone


def _build_from_file(name: str, path: Path, model_args: Mapping[str, Any]) -> nn.Module:
    tensors = read_weights(path)
    if path.suffix == ".ckpt":
        backbone = _create(name, model_args)
        if _same_layout(backbone.state_dict(), tensors):
            backbone.load_state_dict(tensors)
            return backbone
    names = _tensor_names(name)
    audit = Audit(f"model.init_args.weights: {path}", names)
    return _create_pretrained(name, model_args, audit, strip_prefix(tensors, names, path))


def _same_layout(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return own.keys() == given.keys() and all(own[key].shape == given[key].shape for key in own)


def _create(name: str, model_args: Mapping[str, Any], pretrained: bool = False) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=pretrained, **model_args)
    except InputError:
        raise
    except BUILD_ERRORS as error:
        arguments = ", ".join(f"{key}={value}" for key, value in model_args.items())
        raise InputError(f"timm cannot build {name} with {arguments}: {type(error).__name__}: {error}") from error


def _create_pretrained(
    name: str, model_args: Mapping[str, Any], audit: Audit, tensors: dict[str, Tensor] | None
) -> nn.Module:
    with audited_loading(audit, tensors):
        backbone = _create(name, model_args, pretrained=True)
    audit.check_filled(backbone)
    return backbone


def _tensor_names(name: str) -> set[str]:
    """Names of all tensors of the whole network, classifier included."""
    return set(_on_meta(name, {}).state_dict())


class _Unfilled(TorchFunctionMode):
    """Skips random initialization on the meta device, where there are no values, and torch imports sympy for it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return kwargs.get("tensor", *args[:1]) if func in INITIALIZERS else func(*args, **kwargs)


def _on_meta(name: str, model_args: Mapping[str, Any]) -> nn.Module:
    """A network on the meta device, without memory for its tensors."""
    with torch.device("meta"), _Unfilled():
        network = _create(name, model_args)
    if "in_chans" in model_args:
        setattr(network, "in_chans", model_args["in_chans"])  # noqa: B010  (some timm networks have no such attribute)
    return network
