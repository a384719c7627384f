import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.denoiser.batches import Batches


def _batches(n=10, batch_size=4, rank=0, world_size=1, seed=0, drop_prob=0.5, flip=True) -> Batches:
    generator = np.random.default_rng(0)
    return Batches(
        generator.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8), np.arange(n, dtype=np.int32), batch_size=batch_size,
        num_timesteps=100, drop_prob=drop_prob, flip=flip, seed=seed, rank=rank, world_size=world_size,
        device=torch.device("cpu"),
    )  # fmt: skip


@given(st.integers(1, 30), st.integers(1, 40))
def test_each_epoch_visits_every_image_once(n, batch_size):
    batches = _batches(n, batch_size)
    visited = np.concatenate([batches.rows(step) for step in range(-(-2 * n // batch_size))])
    assert sorted(visited[:n]) == list(range(n))
    assert sorted(visited[n : 2 * n]) == list(range(n))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_one_global_batch(world_size):
    for step in (0, 3):
        whole = _batches()(step)
        parts = [_batches(rank=r, world_size=world_size)(step) for r in range(world_size)]
        for field in ("x0", "ids", "t", "eps"):
            assert torch.equal(torch.cat([getattr(p, field) for p in parts]), getattr(whole, field))


def test_a_step_depends_on_seed_and_step_alone():
    walked = _batches()
    for step in range(5):
        last = walked(step)
    jumped = _batches()(4)
    assert torch.equal(last.eps, jumped.eps)
    assert torch.equal(last.x0, jumped.x0)
    assert not torch.equal(jumped.eps, _batches()(5).eps)
    assert not torch.equal(jumped.eps, _batches(seed=1)(4).eps)


def test_statistics_of_the_draws():
    batches = _batches(n=2000, batch_size=2000, drop_prob=0.1)
    batch = batches(0)
    assert (batch.ids == -1).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert batch.t.min() == 0
    assert batch.t.max() == 99
    assert batch.eps.mean().item() == pytest.approx(0, abs=0.01)
    assert batch.eps.std().item() == pytest.approx(1, abs=0.01)
    plain = _batches(n=2000, batch_size=2000, flip=False)(0).x0
    mirrored = (batch.x0 != plain).flatten(1).any(1)
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(batch.x0[mirrored], plain[mirrored].flip(-1))


def test_nothing_is_dropped_at_zero_and_all_at_one():
    assert (_batches(drop_prob=0.0)(0).ids >= 0).all()
    assert (_batches(drop_prob=1.0)(0).ids == -1).all()
