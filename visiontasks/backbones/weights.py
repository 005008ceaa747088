"""Builds a backbone and fills it with weights, and checks that every tensor of it was filled."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import timm.models._builder
import torch
from torch import Tensor, nn

from visiontasks.backbones.hub import find_weights, missing_weights
from visiontasks.backbones.names import LOCAL_DIR, architecture_of, check_name
from visiontasks.backbones.weight_files import read_weights
from visiontasks.errors import InputError

# What timm raises for arguments that an architecture does not take (features_only, an index out of range).
BUILD_ERRORS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError)


def build(name: str, *, weights: str, model_args: Mapping[str, Any]) -> nn.Module:
    """Build `timm.create_model(name, **model_args)` with weights.

    Args:
        name: A timm name, with or without a tag, or "local-dir:FOLDER".
        weights: "hub", "none", or the path of a weight file or of a timm local-dir folder. A folder brings
            its architecture arguments, mean and std along, so it has to be of the architecture that `name`
            says.
        model_args: Arguments of timm.create_model that choose the view.

    Raises:
        InputError: If the name is unknown, the network cannot give this view, or the weights do not fill it.
        MissingFileError: If the weights are not there and cannot be downloaded.
    """
    check_name(name)
    if weights == "none":
        return _create(name, model_args)
    if weights == "hub" and not name.startswith(LOCAL_DIR):
        return _build_from_hub(name, model_args)
    path = Path((name if weights == "hub" else weights).removeprefix(LOCAL_DIR))
    if path.is_dir():
        name = _name_of_folder(path, name)
    return _build_from_file(name, path, model_args)


def _name_of_folder(folder: Path, name: str) -> str:
    of_folder = f"{LOCAL_DIR}{folder}"
    check_name(of_folder)
    if architecture_of(of_folder) != architecture_of(name):
        raise InputError(
            f"model.init_args.weights {folder} is of {architecture_of(of_folder)}, "
            f"but model.init_args.backbone is {name}"
        )
    return of_folder


def _build_from_hub(name: str, model_args: Mapping[str, Any]) -> nn.Module:
    path = find_weights(name)
    if path is not None:
        return _build_from_file(name, path, model_args)
    audit = _Audit(f"the pretrained weights of {name}")
    try:
        return _create_pretrained(name, model_args, audit, None)
    except InputError:
        raise
    except OSError as error:
        raise missing_weights(name, f"{type(error).__name__}: {str(error)[:200]}") from error


def _build_from_file(name: str, path: Path, model_args: Mapping[str, Any]) -> nn.Module:
    tensors = read_weights(path)
    if path.suffix == ".ckpt":
        backbone = _create(name, model_args)
        if _same_layout(backbone.state_dict(), tensors):
            backbone.load_state_dict(tensors)
            return backbone
    audit = _Audit(str(path), _tensor_names(name))
    return _create_pretrained(name, model_args, audit, tensors)


def _same_layout(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return own.keys() == given.keys() and all(own[key].shape == given[key].shape for key in own)


def _create(name: str, model_args: Mapping[str, Any], pretrained: bool = False) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=pretrained, **model_args)
    except InputError:
        raise
    except BUILD_ERRORS as error:
        arguments = ", ".join(f"{key}={value}" for key, value in model_args.items())
        raise InputError(
            f"timm cannot build {name} with {arguments}: {type(error).__name__}: {error}"
        ) from error


def _create_pretrained(
    name: str, model_args: Mapping[str, Any], audit: "_Audit", tensors: dict[str, Tensor] | None
) -> nn.Module:
    with _audited_loading(audit, tensors):
        backbone = _create(name, model_args, pretrained=True)
    audit.check_missing(backbone)
    return backbone


def _tensor_names(name: str) -> set[str]:
    """Names of all tensors of the whole network, classifier included."""
    with torch.device("meta"):
        return set(_create(name, {}).state_dict())


class _Audit:
    """Compares the tensors that timm is about to load with those of the network.

    Args:
        origin: What the weights are, for messages.
        known: Tensor names of the whole network. Further tensors inside the network's own modules are refused
            then: the file is of a deeper or wider network. None trusts timm's choice.
    """

    def __init__(self, origin: str, known: set[str] | None = None) -> None:
        self.origin = origin
        self.known = known
        self.missing: dict[str, Tensor] = {}

    def inspect(self, network: nn.Module, given: Mapping[str, Tensor]) -> None:
        """Refuse tensors of a wrong shape or of another network; note the missing ones."""
        own = network.state_dict(keep_vars=True)
        misshapen = [
            f"{key} {tuple(given[key].shape)}, expected {tuple(own[key].shape)}"
            for key in own
            if key in given and given[key].shape != own[key].shape
        ]
        if misshapen:
            raise InputError(
                f"{self.origin} does not fit {_architecture(network)}: misshapen {_listed(misshapen)}"
            )
        foreign = self._foreign(network, given)
        if foreign:
            raise InputError(
                f"{self.origin} is of another network than {_architecture(network)}, "
                f"which lacks {_listed(foreign)}"
            )
        # torch itself fills num_batches_tracked, which files of before 2018 lack.
        absent = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
        self.missing = {key: own[key] for key in absent}

    def _foreign(self, network: nn.Module, given: Mapping[str, Tensor]) -> list[str]:
        if self.known is None:
            return []
        own_modules = {_top(key) for key in self.known} - {_top(key) for key in _classifiers(network)}
        return [key for key in given if key not in self.known and _top(key) in own_modules]

    def check_missing(self, backbone: nn.Module) -> None:
        """Refuse a backbone of which a tensor was not filled.

        The network that timm fills can hold more than its view does (a classifier, later stages), so only
        tensors that the view still holds count.
        """
        held = {id(tensor) for tensor in backbone.state_dict(keep_vars=True).values()}
        unfilled = [key for key, tensor in self.missing.items() if id(tensor) in held]
        if unfilled:
            raise InputError(
                f"{self.origin} does not fill {_architecture(backbone)}: missing {_listed(unfilled)}"
            )


@contextmanager
def _audited_loading(audit: _Audit, tensors: dict[str, Tensor] | None) -> Iterator[None]:
    """Have timm show the audit what it loads, and load `tensors` (if given) instead of its own source.

    timm maps foreign key names, adapts the first convolution and drops the classifier inside load_pretrained,
    between building the network and cutting the view out of it, and has no public way in; this is the only
    private name of timm that we use.
    """
    builder: Any = timm.models._builder
    original = builder.load_pretrained

    def load(model: nn.Module, pretrained_cfg: dict[str, Any] | None = None, **options: Any) -> None:
        def inspect(module: nn.Module, state_dict: dict[str, Tensor], *_: Any) -> None:
            audit.inspect(module, state_dict)
            for key in state_dict.keys() - module.state_dict().keys():
                del state_dict[key]  # what the audit let pass, timm would warn of

        if tensors is not None:
            pretrained_cfg = {**(pretrained_cfg or {}), "state_dict": dict(tensors), "source": None}
        handle = model.register_load_state_dict_pre_hook(inspect)  # type: ignore[no-untyped-call]
        try:
            original(model, pretrained_cfg=pretrained_cfg, **options)
        except BUILD_ERRORS as error:
            raise InputError(f"{audit.origin} does not fit {_architecture(model)}: {error!r:.300}") from error
        finally:
            handle.remove()

    builder.load_pretrained = load
    try:
        yield
    finally:
        builder.load_pretrained = original


def _top(key: str) -> str:
    return key.split(".")[0]


def _classifiers(network: nn.Module) -> tuple[str, ...]:
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    return (classifier,) if isinstance(classifier, str) else tuple(classifier)


def _architecture(network: nn.Module) -> str:
    return str(getattr(network, "pretrained_cfg", {}).get("architecture", type(network).__name__))


def _listed(items: list[str]) -> str:
    shown = ", ".join(items[:10])
    return shown if len(items) <= 10 else f"{shown} and {len(items) - 10} more"
