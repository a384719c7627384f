from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.condition.mask import box_masks
from selfguide.core.errors import UserError
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


N, SIDE = 40, 8
BOXES = np.sort(np.random.default_rng(1).integers(0, SIDE // 2, (N, 3, 4)), axis=2).astype(np.int16)
BOXES += np.array([0, 0, SIDE // 2, 2], np.int16)  # never empty, and rarely their own mirror image
BOXES[::3, 1:] = 0  # one object
SETS = np.where(BOXES.any(2), np.arange(3), -1).astype(np.int32)
#: Pictures that show their masks, so that whatever moves one must move the other.
SHOWN = (255 * box_masks(torch.from_numpy(BOXES), SIDE)).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).byte().numpy()


def _boxed(**changes: Any) -> Batches:
    settings = {"batch_size": N, "num_timesteps": 100, "drop_prob": 0.0, "flip": True, "seed": 0, "rank": 0,
                "world_size": 1, "device": torch.device("cpu"), "ids": SETS, "boxes": BOXES, **changes}  # fmt: skip
    return Batches(SHOWN, **settings)


@pytest.mark.parametrize("flip", [False, True])
def test_the_mask_follows_its_image(flip):
    batches = _boxed(flip=flip)
    moved = 0
    for step in range(3):
        batch = batches(step)
        assert batch.mask.shape == (N, 1, SIDE, SIDE)
        assert torch.equal(2 * batch.mask.expand_as(batch.x0) - 1, batch.x0)
        straight = box_masks(torch.from_numpy(BOXES[batches.rows(step)]), SIDE)
        moved += int((batch.mask != straight).flatten(1).any(1).sum())
    assert moved > N if flip else moved == 0


def test_one_draw_drops_ids_and_mask_together():
    batches = _boxed(drop_prob=0.4)
    dropped = 0
    for step in range(5):
        batch = batches(step)
        null = (batch.ids == -1).all(1)
        assert torch.equal(null, ~batch.mask.flatten(1).any(1))
        assert torch.equal(batch.ids[~null], torch.from_numpy(SETS[batches.rows(step)]).long()[~null])
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
        assert a.mask is None
        for field in ("x0", "t", "eps"):
            assert torch.equal(getattr(a, field), getattr(b, field))
            assert torch.equal(getattr(a, field), getattr(c, field))
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a.ids, c.ids[:, 0])


def test_ranks_share_the_masks_of_one_global_batch():
    whole = _boxed(drop_prob=0.3)(2)
    parts = [_boxed(drop_prob=0.3, rank=r, world_size=4)(2) for r in range(4)]
    assert torch.equal(torch.cat([p.mask for p in parts]), whole.mask)
    assert torch.equal(torch.cat([p.ids for p in parts]), whole.ids)


@pytest.mark.parametrize("what", ["ids", "boxes"])
def test_another_number_of_conditions_than_images(what):
    array = {"ids": SETS, "boxes": BOXES}[what][:-1]
    with pytest.raises(
        UserError, match=rf"data/condition: 39 {what}, data/images has 40 images; run .dvc repro condition"
    ):
        _boxed(**{what: array})
