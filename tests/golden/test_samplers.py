"""Samplers on Gaussian data, whose denoiser is known exactly: x_0 ~ N(m, s^2) for every pixel on its own.

There the probability flow ODE has a closed form: x_t stays at the same number of standard deviations from its mean,
x_0 = m + s (x_t - alpha m) / sqrt(s^2 alpha^2 + sigma^2).
"""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler, UniPCMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.denoiser.schedule import SCHEDULES, alpha_bar
from selfguide.samples.levels import Levels, time_steps
from selfguide.samples.noise import ImageNoise
from selfguide.samples.registry import SAMPLERS
from selfguide.samples.solver import solve

MEAN, SD = 0.2, 0.15
BOUNDS = -1.0, 1.0
CPU = torch.device("cpu")
ODE_SOLVERS = ["ddim", "dpmpp_2m", "heun", "unipc"]


def _exact(levels):
    def eps(xt, i):
        a = levels.abar[i].float()
        x0 = MEAN + SD**2 * a.sqrt() / (SD**2 * a + 1 - a) * (xt - a.sqrt() * MEAN)
        return (xt - a.sqrt() * x0) / (1 - a).sqrt()

    return eps


def _noise(count=64, seed=0, first=0):
    return ImageNoise(seed, range(first, first + count), (3, 8, 8), CPU)


def _sample(name, levels, noise, eta=0.0, clip=True, model=None):
    return solve(SAMPLERS[name](levels, eta, CPU), model or _exact(levels), levels, noise, BOUNDS if clip else None)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_have_the_data_distribution(name, eta):
    # Ancestral steps lose variance with their length: 4 % at 250 steps, next to nothing at 1000.
    x = _sample(name, Levels.of(alpha_bar("cosine", 1000), 1000), _noise(), eta)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(SD, rel=0.02)


@pytest.mark.parametrize("num_steps", [1, 3, 50, 256, 1000])
def test_ddpm_is_ddim_with_eta_one(num_steps):
    levels = Levels.of(alpha_bar("scaled_linear", 1000), num_steps)
    one, two = _sample("ddim", levels, _noise(4), eta=1.0), _sample("ddpm", levels, _noise(4))
    assert torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_is_its_equation(eta):
    """Song et al. 2021, Eq. 12, as it is written, with the noise estimate recomputed from the clipped x_0."""
    abar = alpha_bar("cosine", 1000).float()
    levels = Levels.of(abar, 20)
    model, noise = _exact(levels), _noise(4)
    x = noise.draw()
    for i, t in enumerate(time_steps(1000, 20)):
        x0 = ((x - (1 - abar[t]).sqrt() * model(x, i)) / abar[t].sqrt()).clamp(-0.3, 0.3)
        eps = (x - abar[t].sqrt() * x0) / (1 - abar[t]).sqrt()
        if i == 19:
            break
        then = abar[time_steps(1000, 20)[i + 1]]
        fresh = eta * ((1 - then) / (1 - abar[t]) * (1 - abar[t] / then)).sqrt()
        x = then.sqrt() * x0 + (1 - then - fresh**2).sqrt() * eps
        x = x + fresh * noise.draw() if eta else x

    def clipped(xt, i):  # what a model says whose x_0 stays inside of +-0.3
        a = levels.abar[i].float()
        x0 = ((xt - (1 - a).sqrt() * model(xt, i)) / a.sqrt()).clamp(-0.3, 0.3)
        return (xt - a.sqrt() * x0) / (1 - a).sqrt()

    assert (x0.abs() == 0.3).float().mean() > 0.1
    assert torch.allclose(_sample("ddim", levels, _noise(4), eta, model=clipped), x0, atol=2e-4)


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


@pytest.mark.parametrize("name", ODE_SOLVERS)
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("num_steps", [1, 2, 3, 20])
def test_a_perfect_denoiser_of_one_image_returns_that_image(name, schedule, num_steps):
    levels = Levels.of(alpha_bar(schedule, 1000), num_steps)
    image = torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8)
    alpha, sigma = levels.alpha.float(), levels.sigma.float()
    x = _sample(name, levels, _noise(2), model=lambda xt, i: (xt - alpha[i] * image) / sigma[i])
    # From the noisiest level, where alpha is 5e-5, rounding alone moves x_0 by up to 0.005.
    assert torch.allclose(x, image.expand_as(x), atol=1e-6 if num_steps > 1 else 1e-2)


class Counting:
    """Noise and a model that count what is asked of them."""

    def __init__(self, levels, count=2):
        self.noise, self.model = _noise(count), _exact(levels)
        self.draws, self.calls = 0, 0

    def draw(self):
        self.draws += 1
        return self.noise.draw()

    def __call__(self, x, i):
        self.calls += 1
        return self.model(x, i)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 100])
def test_any_number_of_steps_ends_at_finite_images(name, schedule, num_steps):
    levels = Levels.of(alpha_bar(schedule, 100), num_steps)
    counting = Counting(levels)
    x = solve(SAMPLERS[name](levels, 0.5, CPU), counting, levels, counting, BOUNDS)
    assert x.shape == (2, 3, 8, 8)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    assert x.abs().max() <= 1.0001
    assert counting.calls == SAMPLERS[name](levels, 0.5, CPU).num_evaluations
    assert counting.draws == (num_steps if name in ("ddim", "ddpm") else 1)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_no_noise_is_drawn_that_is_not_needed(name):
    levels = Levels.of(alpha_bar("cosine", 100), 5)
    counting = Counting(levels)
    solve(SAMPLERS[name](levels, 0.0, CPU), counting, levels, counting, BOUNDS)
    assert counting.draws == (5 if name == "ddpm" else 1)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_image_i_does_not_depend_on_its_batch(name):
    levels = Levels.of(alpha_bar("cosine", 1000), 20)
    whole = _sample(name, levels, _noise(6), 0.5)
    part = _sample(name, levels, _noise(2, first=3), 0.5)
    assert torch.equal(whole[3:5], part)
    other = _sample(name, levels, _noise(2, seed=1, first=3), 0.5)
    assert not torch.allclose(part, other)


# Order of convergence, on levels spaced evenly in log sigma, so that the last level is as good as clean in every run.


def _log_levels(num_steps, largest=20.0, smallest=1e-3):
    noise = torch.logspace(math.log10(largest), math.log10(smallest), num_steps, dtype=torch.float64)
    return Levels(torch.arange(num_steps), torch.cat([1 / (1 + noise**2), torch.ones(1, dtype=torch.float64)]))


def _error(name, num_steps):
    levels = _log_levels(num_steps)
    start = _noise(8).draw()
    alpha, sigma = levels.alpha[0], levels.sigma[0]
    exact = MEAN + SD * (start - alpha * MEAN) / (SD**2 * alpha**2 + sigma**2).sqrt()
    return (_sample(name, levels, _noise(8), clip=False) - exact).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpmpp_2m", 2), ("heun", 2), ("unipc", 3)])
def test_the_order_of_convergence(name, order):
    """UniPC-p is of order p + 1 (Zhao et al. 2023, Theorem 3.1)."""
    coarse, fine = _error(name, 24), _error(name, 48)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.3)
    assert fine < 0.08**order


# Parity with diffusers, on its "trailing" time steps, which are ours wherever num_steps divides T.

BETAS = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "scaled_linear"}


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
@pytest.mark.parametrize(
    ("name", "num_steps"),
    # diffusers' UniPC needs two steps
    [(name, n) for name in ODE_SOLVERS for n in (1, 2, 4, 10, 20, 50) if (name, n) != ("unipc", 1)],
)
def test_equals_diffusers(name, num_steps):
    levels = Levels.of(alpha_bar("scaled_linear", 1000), num_steps)
    common = {**BETAS, "timestep_spacing": "trailing"}
    scheduler = {
        "ddim": lambda: DDIMScheduler(**common, clip_sample=False, set_alpha_to_one=True),
        "dpmpp_2m": lambda: DPMSolverMultistepScheduler(**common, final_sigmas_type="zero"),
        "unipc": lambda: UniPCMultistepScheduler(**common, solver_order=2, solver_type="bh2", final_sigmas_type="zero"),
        "heun": lambda: HeunDiscreteScheduler(**common),
    }[name]()
    scheduler.set_timesteps(num_steps)
    assert sorted({int(t) for t in scheduler.timesteps}, reverse=True) == levels.t.tolist()
    index = {t: i for i, t in enumerate(levels.t.tolist())}
    model = _wavy(levels)

    x = _noise(2).draw()
    if name == "heun":  # its state is x_t / alpha
        x = x / levels.alpha[0].float()
    for t in scheduler.timesteps:
        i = index[int(t)]
        scaled = x * levels.alpha[i].float() if name == "heun" else x
        x = scheduler.step(model(scaled, i), t, x).prev_sample
    ours = _sample(name, levels, _noise(2), clip=False, model=model)
    assert torch.allclose(ours, x, atol=2e-4), (ours - x).abs().max()


def _wavy(levels):
    """A denoiser with no closed form, whose x_0 bends with x and the level."""
    alpha, sigma = levels.alpha.float(), levels.sigma.float()

    def eps(x, i):
        x0 = torch.tanh(2 * alpha[i] * x) * 0.7 + 0.2 * torch.sin(3 * x + 5 * sigma[i])
        return (x - alpha[i] * x0) / sigma[i]

    return eps


def test_heun_stays_with_euler_where_a_step_is_too_long():
    """The cosine schedule's first step shrinks the noise level a thousandfold."""
    levels = Levels.of(alpha_bar("cosine", 1000), 20)
    assert SAMPLERS["heun"](levels, 0.0, CPU).num_evaluations == 2 * 20 - 2
    assert SAMPLERS["heun"](Levels.of(alpha_bar("scaled_linear", 1000), 20), 0.0, CPU).num_evaluations == 2 * 20 - 1
    fine = _sample("ddim", Levels.of(alpha_bar("cosine", 1000), 1000), _noise(4), clip=False)
    error, euler = ((_sample(name, levels, _noise(4), clip=False) - fine).abs().max() for name in ("heun", "ddim"))
    assert error < euler


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_clipping_keeps_every_estimate_inside(name):
    levels = Levels.of(alpha_bar("scaled_linear", 1000), 10)
    alpha, sigma = levels.alpha.float(), levels.sigma.float()
    far = lambda x, i: (x - alpha[i] * 5) / sigma[i]  # noqa: E731 (x_0 = 5 everywhere)
    assert torch.allclose(_sample(name, levels, _noise(2), clip=False, model=far), torch.tensor(5.0), atol=1e-4)
    assert torch.allclose(_sample(name, levels, _noise(2), clip=True, model=far), torch.tensor(1.0), atol=1e-4)
