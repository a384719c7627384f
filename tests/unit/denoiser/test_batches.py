import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.denoiser.batches import Batches
from selfguide.denoiser.config import DenoiserConfig
from selfguide.signal.render import box_masks
from tests.conftest import encoded, signal, tiny_denoiser

CPU = torch.device("cpu")


def _config(batch_size: int, drop_prob: float, flip: bool) -> DenoiserConfig:
    return tiny_denoiser(batch_size=batch_size, condition_drop_prob=drop_prob, horizontal_flip=flip, num_timesteps=100)


def _batches(n=10, batch_size=4, rank=0, world_size=1, seed=0, drop_prob=0.5, flip=True) -> Batches:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3)).astype(np.uint8)
    config = _config(batch_size, drop_prob, flip)
    return Batches(encoded(pixels), signal(np.arange(n), n), config, seed, CPU, rank=rank, world_size=world_size)


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
        for field in ("x0", "t", "eps"):
            assert torch.equal(torch.cat([getattr(p, field) for p in parts]), getattr(whole, field))
        assert torch.equal(torch.cat([p.c.ids for p in parts]), whole.c.ids)


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
    assert (batch.c.ids == -1).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert batch.t.min() == 0
    assert batch.t.max() == 99
    assert batch.eps.mean().item() == pytest.approx(0, abs=0.01)
    assert batch.eps.std().item() == pytest.approx(1, abs=0.01)
    plain = _batches(n=2000, batch_size=2000, flip=False)(0).x0
    mirrored = (batch.x0 != plain).flatten(1).any(1)
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(batch.x0[mirrored], plain[mirrored].flip(-1))


def test_nothing_is_dropped_at_zero_and_all_at_one():
    assert (_batches(drop_prob=0.0)(0).c.ids >= 0).all()
    assert (_batches(drop_prob=1.0)(0).c.ids == -1).all()


N, SIDE = 40, 8
BOXES = np.sort(np.random.default_rng(1).integers(0, SIDE // 2, (N, 3, 4)), axis=2).astype(np.int16)
BOXES += np.array([0, 0, SIDE // 2, 2], np.int16)  # never empty, and rarely their own mirror image
BOXES[::3, 1:] = 0  # one object
SETS = np.where(BOXES.any(2), np.arange(3), -1).astype(np.int32)
#: Pictures that show their masks, so that whatever moves one must move the other.
SHOWN = (255 * box_masks(torch.from_numpy(BOXES), SIDE)).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).byte().numpy()


def _boxed(ids=SETS, boxes=BOXES, drop_prob=0.0, flip=True, rank=0, world_size=1) -> Batches:
    guided = signal(ids, 3, boxes, SIDE)
    config = _config(N, drop_prob, flip)
    return Batches(encoded(SHOWN), guided, config, 0, CPU, rank=rank, world_size=world_size)


@pytest.mark.parametrize("flip", [False, True])
def test_the_mask_follows_its_image(flip):
    batches = _boxed(flip=flip)
    moved = 0
    for step in range(3):
        batch = batches(step)
        assert batch.c.map.shape == (N, 1, SIDE, SIDE)
        assert torch.equal(2 * batch.c.map.expand_as(batch.x0) - 1, batch.x0)
        straight = box_masks(torch.from_numpy(BOXES[batches.rows(step)]), SIDE)
        moved += int((batch.c.map != straight).flatten(1).any(1).sum())
    assert moved > N if flip else moved == 0


def test_one_draw_drops_ids_and_mask_together():
    batches = _boxed(drop_prob=0.4)
    dropped = 0
    for step in range(5):
        batch = batches(step)
        null = (batch.c.ids == -1).all(1)
        assert torch.equal(null, ~batch.c.map.flatten(1).any(1))
        assert torch.equal(batch.c.ids[~null], torch.from_numpy(SETS[batches.rows(step)]).long()[~null])
        dropped += int(null.sum())
    assert dropped / (5 * N) == pytest.approx(0.4, abs=0.15)


def test_boxes_and_sets_change_no_other_draw():
    ids = SETS[:, 0]
    plain, boxed, sets = (
        _boxed(ids=ids, boxes=None, drop_prob=0.3),
        _boxed(ids=ids, drop_prob=0.3),
        _boxed(drop_prob=0.3),
    )
    for step in (0, 4):
        a, b, c = plain(step), boxed(step), sets(step)
        assert a.c.map is None
        for field in ("x0", "t", "eps"):
            assert torch.equal(getattr(a, field), getattr(b, field))
            assert torch.equal(getattr(a, field), getattr(c, field))
        assert torch.equal(a.c.ids, b.c.ids)
        assert torch.equal(a.c.ids, c.c.ids[:, 0])


def test_ranks_share_the_masks_of_one_global_batch():
    whole = _boxed(drop_prob=0.3)(2)
    parts = [_boxed(drop_prob=0.3, rank=r, world_size=4)(2) for r in range(4)]
    assert torch.equal(torch.cat([p.c.map for p in parts]), whole.c.map)
    assert torch.equal(torch.cat([p.c.ids for p in parts]), whole.c.ids)
