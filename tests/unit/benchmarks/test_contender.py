"""The contender's steps against the same steps written out plainly, in float32."""

import denoiser as bench
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from contender import NUM_STEPS, make

from selfguide.core.pixels import to_float
from selfguide.denoiser.schedule import add_noise
from selfguide.samples.levels import time_steps
from selfguide.signal.condition import BatchCondition

B, SIZE, K = 4, 16, 7


def _make(**changes):
    torch.manual_seed(0)
    made = make(32, SIZE, K, B, **{"precision": "32-true", **changes})
    for parameter in made.network.parameters():  # the last layers start as zeros, and would hide everything
        torch.nn.init.normal_(parameter, std=0.05)
    made.ema.average = [p.detach().clone() for p in made.network.parameters()]
    return made


IMAGES = torch.randint(0, 256, (B, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 6, 3])


def test_the_network_has_the_papers_shape():
    config = make(64, 32, 100, 2).config.network
    assert config.attention_resolutions == (8,)
    assert (config.time_width, config.guidance_width, config.num_heads, config.num_blocks) == (256, 128, 8, 2)
    assert config.channel_multipliers == (1, 2, 4)
    assert sum(p.numel() for p in make(32, 32, 100, 2).network.parameters()) == 4_647_811


def test_training_steps_are_adamw_and_ema_on_the_plain_loss():
    c, plain = _make(), _make()
    optimizer = torch.optim.AdamW(plain.network.parameters(), lr=c.config.learning_rate, weight_decay=0.01)
    average = [p.detach().clone() for p in plain.network.parameters()]
    for step in range(2):
        loss = c.train_step(IMAGES, LABELS)
        plain.batches.stored.tensor, plain.batches.conditions.ids.tensor = IMAGES, LABELS
        batch = plain.batches(step)
        noisy = add_noise(batch.x0, batch.eps, plain.module.abar[batch.t])
        expected = F.mse_loss(plain.network(noisy, batch.t, batch.c), batch.eps)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        decay = min(c.config.ema_decay, (2 + step) / (11 + step))
        average = [
            decay * a + (1 - decay) * p.detach() for a, p in zip(average, plain.network.parameters(), strict=True)
        ]
        assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    for mine, other in zip(c.ema.average, average, strict=True):
        assert torch.allclose(mine, other, atol=1e-4)
    moved = max((a - p).abs().max() for a, p in zip(average, plain.network.parameters(), strict=True))
    assert moved > 1e-5


def test_float_images_are_the_same_images():
    assert torch.equal(_make().train_step(IMAGES, LABELS), _make().train_step(to_float(IMAGES), LABELS))


@pytest.mark.parametrize("i", [0, 100, NUM_STEPS - 1])
def test_a_sampling_step_is_guided_ddim(i):
    c, w = _make(), 2.5
    x = torch.randn(B, 3, SIZE, SIZE)
    steps = time_steps(1000, NUM_STEPS)
    t = torch.full((B,), steps[i])
    with torch.no_grad():
        null, cond = (c.network(x, t, BatchCondition(ids)).double() for ids in (torch.full_like(LABELS, -1), LABELS))
    exact = x.double()
    now = c.module.abar[steps[i]].double()
    then = c.module.abar[steps[i + 1]].double() if i + 1 < NUM_STEPS else torch.ones(()).double()
    x0 = ((exact - (1 - now).sqrt() * ((1 - w) * null + w * cond)) / now.sqrt()).clamp(-1, 1)
    eps = (exact - now.sqrt() * x0) / (1 - now).sqrt()
    expected = then.sqrt() * x0 + (1 - then).sqrt() * eps
    assert torch.allclose(c.sample_step(x, i, LABELS, w).double(), expected, atol=2e-4)


def test_other_labels_weights_and_w_are_noticed():
    c = _make()
    x = torch.randn(B, 3, SIZE, SIZE)
    first = c.sample_step(x, 100, LABELS, 2.0)
    others = [c.sample_step(x, 100, LABELS.flip(0) * 0, 2.0), c.sample_step(x, 100, LABELS, 3.0)]
    assert torch.equal(first, c.sample_step(x, 100, LABELS, 2.0))
    c.train_step(IMAGES, LABELS)
    assert all(not torch.equal(first, other) for other in [*others, c.sample_step(x, 100, LABELS, 2.0)])


@pytest.mark.parametrize("lever", bench.LEVERS)
def test_a_lever_changes_the_cost_alone(lever):
    """Each variant computes what the whole does, in whatever precision `auto` is here."""

    def results(lever):
        torch.manual_seed(0)
        ours = bench.Ours(32, SIZE, "cpu", B, False, lever)
        torch.manual_seed(1)
        for parameter in ours.network.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        ours.contender.ema.average = [p.detach().clone() for p in ours.network.parameters()]
        x = torch.randn(B, 3, SIZE, SIZE)
        sample = ours.sample_step(x, 100, LABELS, 2.0)
        loss = ours.train_step(IMAGES, LABELS)
        return float(loss), sample, torch.cat([a.flatten() for a in ours.contender.ema.average])

    loss, sample, average = results(None)
    other_loss, other_sample, other_average = results(lever)
    assert other_loss == pytest.approx(loss, rel=0.02)
    assert (other_sample - sample).abs().mean() < 0.02 * sample.abs().mean()
    assert torch.allclose(other_average, average, atol=2e-3)
