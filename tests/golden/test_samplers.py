"""Samplers on Gaussian data, whose denoiser is known exactly: x_0 ~ N(m, s^2) for every pixel on its own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.denoiser.schedule import SCHEDULES, alpha_bar
from selfguide.samples.ddim import ddim, time_steps
from selfguide.samples.ddpm import ddpm
from selfguide.samples.noise import ImageNoise
from selfguide.samples.registry import SAMPLERS

MEAN, SD = 0.2, 0.15


def _exact(abar):
    def eps(xt, t):
        a = abar[t]
        x0 = MEAN + SD**2 * a.sqrt() / (SD**2 * a + 1 - a) * (xt - a.sqrt() * MEAN)
        return (xt - a.sqrt() * x0) / (1 - a).sqrt()

    return eps


def _noise(count=64, seed=0, first=0):
    return ImageNoise(seed, range(first, first + count), (3, 8, 8), torch.device("cpu"))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_have_the_data_distribution(name, eta):
    abar = alpha_bar("cosine", 1000)
    # Ancestral steps lose variance with their length: 4 % at 250 steps, next to nothing at 1000.
    x = SAMPLERS[name](_exact(abar), _noise(), abar, 1000, eta, True)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(SD, rel=0.02)


@pytest.mark.parametrize("num_steps", [1, 3, 50, 256, 1000])
def test_ddpm_is_ddim_with_eta_one(num_steps):
    abar = alpha_bar("scaled_linear", 1000)
    one = ddim(_exact(abar), _noise(4), abar, num_steps, 1.0, True)
    two = ddpm(_exact(abar), _noise(4), abar, num_steps, 0.0, True)
    assert torch.allclose(one, two, atol=1e-4)


@given(st.integers(1, 1000).flatmap(lambda t: st.tuples(st.just(t), st.integers(1, t))))
def test_time_steps_start_at_the_noisiest_and_differ(sizes):
    num_timesteps, num_steps = sizes
    steps = time_steps(num_timesteps, num_steps)
    assert len(steps) == num_steps
    assert steps[0] == num_timesteps - 1
    assert all(a > b >= 0 for a, b in zip(steps, steps[1:], strict=False))


@pytest.mark.parametrize("num_steps", [0, 1001])
def test_steps_outside_are_an_error(num_steps):
    with pytest.raises(UserError, match=r"samples.num_steps: expected 1..1000"):
        time_steps(1000, num_steps)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_a_perfect_denoiser_of_one_image_returns_that_image(schedule):
    abar = alpha_bar(schedule, 1000)
    image = torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8)
    x = ddim(lambda xt, t: (xt - abar[t].sqrt() * image) / (1 - abar[t]).sqrt(), _noise(2), abar, 20, 0.0, True)
    assert torch.allclose(x, image.expand_as(x).to(x.dtype), atol=1e-6)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_image_i_does_not_depend_on_its_batch(name):
    abar = alpha_bar("cosine", 1000)
    whole = SAMPLERS[name](_exact(abar), _noise(6), abar, 20, 0.5, True)
    part = SAMPLERS[name](_exact(abar), _noise(2, first=3), abar, 20, 0.5, True)
    assert torch.equal(whole[3:5], part)
    other = SAMPLERS[name](_exact(abar), _noise(2, seed=1, first=3), abar, 20, 0.5, True)
    assert not torch.allclose(part, other)
