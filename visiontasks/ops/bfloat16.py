"""Whether a processor computes in bfloat16."""

import torch


def cpu_has_bfloat16() -> bool:
    """Whether the processor has AVX512_BF16, which all with AMX have too, and oneDNN may use it.

    Without it torch's convolutions round sums to bfloat16 on the way and take many times as long as in float32.

    Neither question suffices. The first is about the processor, whatever oneDNN may use (ONEDNN_MAX_CPU_ISA) and
    whether torch was built with it. The second is also answered yes where AVX-512 alone emulates bfloat16.
    """
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # private, and the only one that asks
    if has_instructions is None or not has_instructions():
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
