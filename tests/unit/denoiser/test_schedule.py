import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.denoiser.schedule import SCHEDULES, add_noise, alpha_bar, loss_weight, target, to_eps


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(20, 2000))
def test_alpha_bar_decreases_inside_zero_one(name, num_timesteps):
    abar = alpha_bar(name, num_timesteps)
    assert abar.shape == (num_timesteps,)
    assert abar.dtype == torch.float64
    assert (abar > 0).all()
    assert (abar < 1).all()
    assert (abar.diff() < 0).all()


def test_published_end_points():
    # Facts of the literature: DDPM ends at 4.0e-5, latent diffusion's schedule at 7.3e-4 less rounding.
    assert alpha_bar("linear", 1000)[-1].item() == pytest.approx(4.036e-5, rel=1e-3)
    loop = 1.0
    for i in range(1000):
        loop *= 1 - (math.sqrt(1e-4) + (math.sqrt(0.02) - math.sqrt(1e-4)) * i / 999) ** 2
    assert alpha_bar("scaled_linear", 1000)[-1].item() == pytest.approx(loop, rel=1e-9)
    assert loop == pytest.approx(7.3e-4, rel=0.02)


@pytest.mark.parametrize("t", [0, 10, 499, 900])
def test_cosine_is_its_formula(t):
    f = [math.cos((u / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for u in (t + 1, 0)]
    assert alpha_bar("cosine", 1000)[t].item() == pytest.approx(f[0] / f[1], rel=1e-9)


def test_unknown_name_lists_the_known():
    with pytest.raises(UserError, match="cosine, linear, scaled_linear"):
        alpha_bar("cosin", 10)


@given(st.floats(1e-4, 1 - 1e-4), st.sampled_from(["eps", "v"]))
def test_prediction_round_trip(level, prediction):
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 3, 3, 4, 4, generator=generator, dtype=torch.float64)
    abar = torch.full((3,), level, dtype=torch.float64)
    xt = add_noise(x0, eps, abar)
    assert torch.allclose(to_eps(prediction, target(prediction, x0, eps, abar), xt, abar), eps, atol=1e-9)


def test_forward_process_matches_a_scalar_loop():
    x0, eps = torch.randn(2, 2, 3, 2, 2)
    abar = torch.tensor([0.9, 0.25])
    found = add_noise(x0, eps, abar)
    for b in range(2):
        for index in range(12):
            want = math.sqrt(abar[b]) * x0[b].flatten()[index] + math.sqrt(1 - abar[b]) * eps[b].flatten()[index]
            assert found[b].flatten()[index].item() == pytest.approx(want.item(), abs=1e-6)


@given(st.floats(1e-4, 1 - 1e-4), st.floats(0.5, 20.0))
def test_min_snr_weights_the_error_of_x0_by_the_smaller_of_snr_and_gamma(level, gamma):
    generator = torch.Generator().manual_seed(0)
    x0, eps, wrong = torch.randn(3, 1, 3, 4, 4, generator=generator, dtype=torch.float64)
    abar = torch.tensor([level], dtype=torch.float64)
    xt = add_noise(x0, eps, abar)
    snr = level / (1 - level)
    estimated_eps = (xt - abar.sqrt() * wrong) / (1 - abar).sqrt()
    for prediction in ("eps", "v"):
        error = target(prediction, x0, eps, abar) - target(prediction, wrong, estimated_eps, abar)
        weighted = loss_weight(prediction, gamma, abar) * error.square().mean()
        assert weighted.item() == pytest.approx(min(snr, gamma) * (x0 - wrong).square().mean().item(), rel=1e-6)
    assert loss_weight("eps", None, abar).item() == 1
