import logging

import pytest
import torch

from selfguide.core import hardware, runtime


@pytest.mark.parametrize(
    ("cuda", "amx", "avx512_bf16", "expected"),
    [(True, False, False, "bf16-mixed"), (False, True, True, "bf16-mixed"), (False, False, True, "bf16-mixed"),
     (False, False, False, "32-true")],
)  # fmt: skip
def test_auto_asks_the_hardware_and_says_what_it_found(monkeypatch, caplog, cuda, amx, avx512_bf16, expected):
    hardware._fast_bf16.cache_clear()
    monkeypatch.delenv("SELFGUIDE_ACCELERATOR", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    with caplog.at_level(logging.INFO):
        assert runtime.resolve_precision("auto") == expected
    hardware._fast_bf16.cache_clear()
    assert f"precision auto: {expected}" in caplog.text


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_named_precision_is_kept(name):
    assert runtime.resolve_precision(name) == name


def test_a_trainer_has_the_precision_that_was_asked_for():
    assert runtime.trainer(precision="bf16-mixed").precision == "bf16-mixed"
    assert runtime.trainer().precision == "32-true"
