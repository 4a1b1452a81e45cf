"""Where networks run, and how."""

import pytest
import torch

from InteractiveSegLib.device import bfloat16_is_fast


@pytest.mark.parametrize(
    ("has_avx", "has_amx", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_bfloat16_is_fast_where_a_processor_has_instructions_for_it(monkeypatch, has_avx, has_amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx, raising=False)
    assert bfloat16_is_fast(torch.device("cpu")) is expected
    assert not bfloat16_is_fast(torch.device("cuda"))


def test_a_torch_that_cannot_tell_uses_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not bfloat16_is_fast(torch.device("cpu"))
