"""Keeps the truth in a batch as it is, whatever `trainer.precision`."""

from typing import Any

from lightning.pytorch.plugins import DoublePrecision, Precision

_COMPUTED = "features"
"""What a network computed: the only floats of a batch that its next layers take as they are."""


def keep_targets(plugin: Precision) -> None:
    """Make a precision plugin leave the floats of batches alone, but for a backbone's features.

    Lightning 2.6 calls `convert_input` on each batch before any hook of a module or callback, and with bf16-true,
    16-true (HalfPrecision), FSDP and DeepSpeed that casts every float: a true box at 0.3017 becomes 0.3008, one at 301
    px becomes 300. Images come as uint8, and the task normalizes them to its own precision.

    Args:
        plugin: The trainer's; changed in place.
    """
    if isinstance(plugin, DoublePrecision):  # exact, and float64 targets fit float64 predictions
        return
    convert = type(plugin).convert_input

    def convert_input(batch: Any) -> Any:
        if not isinstance(batch, dict) or _COMPUTED not in batch:
            return batch
        return {**batch, _COMPUTED: convert(plugin, batch[_COMPUTED])}

    plugin.convert_input = convert_input  # type: ignore[method-assign, assignment]
