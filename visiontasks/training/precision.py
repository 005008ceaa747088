"""`trainer.precision: auto`, and a warning where the processor emulates bfloat16."""

import sys
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.library_internals import cpu_has_bfloat16

AUTO = "auto"
BFLOAT16, FLOAT32 = "bf16-mixed", "32-true"
EMULATION_FACTOR = "5 to 40"
"""How many times as long a training step takes in emulated bfloat16 as in float32, with torch 2.14.1.

5 for ResNet-18 at 96 px and 9 for MobileNetV2 at 224 px: processor time of a step of 4 images on one core, with AVX-512
switched off (ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2). 40 for a strided depthwise convolution on a processor
that has AVX2 only: 10.2 s against 0.26 s.
"""


def resolve_precision(precision: Any, accelerator: Any) -> Any:
    """The precision that a recipe's `trainer.precision` gives on this machine.

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


def warn_if_emulated(trainer: Trainer) -> None:
    """Print a warning where a trainer computes in bfloat16 on a processor that does not.

    Args:
        trainer: Its precision can differ from the recipe's: on a CPU Lightning turns 16-mixed into bf16-mixed.
    """
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and str(trainer.precision).startswith("bf16") and not cpu_has_bfloat16():
        rank_zero_only(print)(
            f"warning: trainer.precision {trainer.precision}: torch emulates bfloat16 on this processor, which has no "
            f"AVX512_BF16. A training step takes {EMULATION_FACTOR} times as long as in float32: set trainer.precision "
            "to 32-true, or to auto",
            file=sys.stderr,
            flush=True,
        )
