import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.denoiser.artifact import Denoiser
from selfguide.samples.batch_size import CPU, LARGEST, auto_batch_size, fitting
from selfguide.signal.condition import BatchCondition


@given(st.integers(1, 10**10), st.integers(1, 10**12))
def test_the_largest_power_of_two_that_fits(per_image, available):
    size = fitting(per_image, available)
    assert size & (size - 1) == 0
    assert 1 <= size <= LARGEST
    assert size == 1 or size * per_image <= available
    assert size == LARGEST or 2 * size * per_image > available


def test_on_a_cpu_it_is_a_constant(denoiser: Denoiser, monkeypatch):
    monkeypatch.setenv("SELFGUIDE_ACCELERATOR", "cpu")
    assert auto_batch_size(denoiser.build("ema")) == CPU


@pytest.mark.gpu
def test_on_a_gpu_twice_the_rows_fit(denoiser: Denoiser):
    network = denoiser.build("ema")
    size = auto_batch_size(network)
    x = torch.zeros(2 * size, 3, 16, 16, device="cuda")
    null = torch.full((2 * size,), -1, device="cuda")
    with torch.no_grad():
        assert network(x, torch.zeros_like(null), BatchCondition(null)).shape == x.shape
