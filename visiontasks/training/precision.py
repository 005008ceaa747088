"""The precision that a recipe leaves to the machine: `trainer.precision: auto`."""

from typing import Any

import torch

AUTO = "auto"
BFLOAT16, FLOAT32 = "bf16-mixed", "32-true"


def resolve_precision(precision: Any, accelerator: Any) -> Any:
    """What a recipe's `trainer.precision` means on this machine.

    "auto" is bf16-mixed where the processor or GPU has instructions for bfloat16, and 32-true where it would be
    emulated, which is slower than float32.

    Args:
        precision: The recipe's value; any but "auto" is returned as it is.
        accelerator: The recipe's `trainer.accelerator`.
    """
    if precision != AUTO:
        return precision
    on_gpu = accelerator in ("cuda", "gpu", "auto") and torch.cuda.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not on_gpu and not torch.backends.mps.is_available())
    native = gpu_has_bfloat16() if on_gpu else on_cpu and cpu_has_bfloat16()
    return BFLOAT16 if native else FLOAT32


def gpu_has_bfloat16() -> bool:
    """Whether the first GPU computes in bfloat16, as all of NVIDIA's have since compute capability 8.0."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def cpu_has_bfloat16() -> bool:
    """Whether the processor has AVX512_BF16, which all with AMX have too, and torch the library that uses it."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # private, and the only place that says it
    return known is not None and bool(known()) and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
