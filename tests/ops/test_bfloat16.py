"""Whether a processor computes in bfloat16."""

import os
import subprocess
import sys

import pytest
import torch

from visiontasks.ops.bfloat16 import cpu_has_bfloat16


@pytest.mark.parametrize("instructions", [True, False])
@pytest.mark.parametrize("onednn", [True, False])
def test_a_processor_needs_the_instructions_and_a_onednn_that_uses_them(
    instructions: bool, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions, raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert cpu_has_bfloat16() == (instructions and onednn)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not cpu_has_bfloat16()


def test_a_torch_that_cannot_be_asked_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not cpu_has_bfloat16()


@pytest.mark.slow
def test_a_onednn_that_may_use_avx2_only_has_none() -> None:
    code = "from visiontasks.ops.bfloat16 import cpu_has_bfloat16; print(cpu_has_bfloat16())"
    limited = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    said = subprocess.run([sys.executable, "-c", code], env=limited, capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
