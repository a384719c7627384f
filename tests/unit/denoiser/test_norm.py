"""The fused norm against torch's own operators."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfguide.denoiser.norm import norm_silu


def _plain(norm, x, film, silu):
    h = norm(x)
    if film is not None:
        scale, shift = film[:, :, None, None].chunk(2, dim=1)
        h = h * (1 + scale) + shift
    return F.silu(h) if silu else h


def _inputs(dtype, shape=(3, 64, 6, 4), offset=0.5):
    g = torch.Generator().manual_seed(0)
    norm = nn.GroupNorm(32, shape[1]).to(dtype)
    nn.init.normal_(norm.weight, 1, 0.3, generator=g)
    nn.init.normal_(norm.bias, 0, 0.3, generator=g)
    x = torch.randn(shape, generator=g, dtype=dtype) * 2 + offset
    film = torch.randn(shape[0], 2 * shape[1], generator=g, dtype=dtype)
    return norm, x.to(memory_format=torch.channels_last), film, torch.randn(shape, generator=g, dtype=dtype)


@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
def test_values_and_gradients_are_those_of_the_plain_operators(dtype, tolerance, modulated, silu):
    norm, x, film, upstream = _inputs(dtype)
    results = []
    for function in (lambda *a: norm_silu(a[0], a[1], a[2], silu=a[3]), _plain):
        leaves = [x.clone(memory_format=torch.preserve_format).requires_grad_(), film.clone().requires_grad_()]
        out = function(norm, leaves[0], leaves[1] if modulated else None, silu)
        wanted = [leaves[0], norm.weight, norm.bias, *leaves[1:][: int(modulated)]]
        results.append([out, *torch.autograd.grad(out, wanted, upstream)])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=tolerance, atol=tolerance)
    assert results[0][0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_bf16_is_as_near_to_float64_as_torchs_own(offset):
    norm, x, film, _ = _inputs(torch.bfloat16, (2, 64, 16, 16), offset)
    exact = _plain(norm.double(), x.double(), film.double(), True)
    norm.bfloat16()
    ours = (norm_silu(norm, x, film).double() - exact).square().mean().sqrt()
    plain = (_plain(norm, x, film, True).double() - exact).square().mean().sqrt()
    assert ours < 2 * plain


def test_any_layout_is_taken():
    norm, x, film, _ = _inputs(torch.float32)
    torch.testing.assert_close(norm_silu(norm, x.contiguous(), film), norm_silu(norm, x, film))
