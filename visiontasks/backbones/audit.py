"""Checks the weights that timm loads: they must fill the backbone, and must not be another network's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.library_internals import replaced_weight_loading

# What timm raises for arguments or weights that an architecture cannot take.
BUILD_ERRORS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Audit:
    """Compares the tensors that timm is about to load with those of the network.

    Args:
        origin: Where the weights are from, for messages.
        known: Tensor names of the whole network. Further tensors inside the network's own modules are refused
            then: the file is of a deeper or wider network. None trusts timm's choice.
    """

    def __init__(self, origin: str, known: set[str] | None = None) -> None:
        self.origin = origin
        self.known = known
        self.missing: dict[str, Tensor] = {}

    def inspect(self, network: nn.Module, given: Mapping[str, Tensor]) -> None:
        """Find the network's tensors that are missing.

        Raises:
            InputError: If a tensor has another shape than the network's, or belongs to another network.
        """
        own = network.state_dict(keep_vars=True)
        misshapen = [
            f"{key} {tuple(given[key].shape)}, expected {tuple(own[key].shape)}"
            for key in own
            if key in given and given[key].shape != own[key].shape
        ]
        if misshapen:
            raise InputError(f"{self.origin} has other shapes than {architecture(network)}: {_listed(misshapen)}")
        foreign = self._foreign(network, given)
        if foreign:
            raise InputError(
                f"{self.origin} belongs to another network than {architecture(network)}: unexpected {_listed(foreign)}"
            )
        # torch itself fills num_batches_tracked, which is missing in files from before 2018.
        absent = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
        self.missing = {key: own[key] for key in absent}

    def check_filled(self, backbone: nn.Module) -> None:
        """Check that no tensor of a view was missing.

        The network that timm fills can hold more than the view that is cut out of it (a classifier, later
        stages), so only tensors that the view still holds count.

        Raises:
            InputError: If one was missing.
        """
        held = {id(tensor) for tensor in backbone.state_dict(keep_vars=True).values()}
        unfilled = [key for key, tensor in self.missing.items() if id(tensor) in held]
        if unfilled:
            raise InputError(f"{self.origin} does not fill {architecture(backbone)}: missing {_listed(unfilled)}")

    def _foreign(self, network: nn.Module, given: Mapping[str, Tensor]) -> list[str]:
        if self.known is None:
            return []
        own_modules = {_top(key) for key in self.known} - {_top(key) for key in _classifiers(network)}
        return [key for key in given if key not in self.known and _top(key) in own_modules]


@contextmanager
def audited_loading(audit: Audit, tensors: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Let the audit inspect what timm loads, and let timm load `tensors` (if given) instead of its own source.

    timm maps foreign key names, adapts the first convolution and drops the classifier inside load_pretrained,
    between building the network and cutting the view out of it.
    """

    def audited(load_pretrained: Callable[..., None]) -> Callable[..., None]:
        def load(model: nn.Module, pretrained_cfg: dict[str, Any] | None = None, **options: Any) -> None:
            if tensors is not None:
                pretrained_cfg = {**(pretrained_cfg or {}), "state_dict": dict(tensors), "source": None}
            handle = model.register_load_state_dict_pre_hook(inspect)  # type: ignore[no-untyped-call]
            try:
                load_pretrained(model, pretrained_cfg=pretrained_cfg, **options)
            except InputError:
                raise
            except BUILD_ERRORS as error:
                raise InputError(f"{audit.origin} is not for {architecture(model)}: {error!r:.300}") from error
            finally:
                handle.remove()

        return load

    def inspect(module: nn.Module, state_dict: dict[str, Tensor], *_: Any) -> None:
        audit.inspect(module, state_dict)
        for key in state_dict.keys() - module.state_dict().keys():
            del state_dict[key]  # timm would warn of each tensor that the audit accepted and the network does not have

    with replaced_weight_loading(audited):
        yield


def architecture(network: nn.Module) -> str:
    """The timm name of a network without its tag."""
    return str(getattr(network, "pretrained_cfg", {}).get("architecture", type(network).__name__))


def _classifiers(network: nn.Module) -> tuple[str, ...]:
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    return (classifier,) if isinstance(classifier, str) else tuple(classifier)


def _top(key: str) -> str:
    return key.split(".")[0]


def _listed(items: list[str]) -> str:
    shown = ", ".join(items[:10])
    return shown if len(items) <= 10 else f"{shown} and {len(items) - 10} more"
