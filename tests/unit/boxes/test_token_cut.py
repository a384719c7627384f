import numpy as np
import pytest
import torch

from selfguide.boxes.token_cut import token_cut_box
from selfguide.core.errors import UserError
from tests.unit.boxes import oracles
from tests.unit.boxes.test_lost import scene

EPS = 1e-5


def compare(keys, grid, tau=0.2, scales=(16, 8)):
    """Whether the oracle has one answer; if so, it is ours."""
    image_hw = (grid[0] * scales[0] - 5, grid[1] * scales[1] - 3)
    found = token_cut_box(keys, grid, scales, image_hw, tau, EPS)
    vector_and_gap = oracles.second_vector(np.asarray(keys, float).tolist(), tau, EPS)
    if found.fallback or vector_and_gap is None or vector_and_gap[1] < 1e-7:
        return False
    vector = vector_and_gap[0]
    largest = np.sort(np.abs(vector))
    if np.abs(vector - vector.mean()).min() < 1e-9 * largest[-1]:
        return False
    box, seed, cells = oracles.token_cut(vector, grid, scales, image_hw)
    ours = {tuple(cell) for cell in np.argwhere(found.mask).tolist()}
    if largest[-1] - largest[-2] < 1e-9 * largest[-1]:
        # Patches of equal rank: either may be the seed, and one side of the cut is the object.
        other = found.seed
        assert np.abs(vector[other]) >= (1 - 1e-6) * largest[-1]
        if (other // grid[1], other % grid[1]) not in cells:
            return False
    else:
        assert found.seed == seed
    assert ours == cells
    assert found.box == box
    return True


def test_an_object_on_its_ground():
    found = token_cut_box(scene(7, 9, slice(2, 5), slice(3, 7)), (7, 9), (16, 8), (112, 72))
    assert found.box == (24, 32, 56, 80)
    assert found.mask.sum() == 12
    assert found.mask.flat[found.seed]
    assert not found.fallback


def test_the_smaller_side_is_the_object():
    """Its entries are the larger ones; LOST takes the smaller side too, by its degrees."""
    found = token_cut_box(scene(6, 6, slice(0, 6), slice(0, 4)), (6, 6), (16, 16), (96, 96))
    assert found.box == (64, 0, 96, 96)


def test_random_keys():
    generator, compared = np.random.default_rng(0), 0
    for _ in range(60):
        rows, columns = (int(n) for n in generator.integers(1, 8, 2))
        if rows * columns > 2:
            keys = generator.normal(size=(rows * columns, int(generator.integers(2, 9)))).astype(np.float32)
            compared += compare(keys, (rows, columns))
    assert compared > 40


@pytest.mark.parametrize("seed", range(8))
def test_structured_keys(seed):
    generator = np.random.default_rng(seed)
    keys = scene(6, 7, slice(1, 4), slice(2, 5), seed=seed) + generator.normal(0, 0.8, (42, 6))
    assert compare(keys.astype(np.float32), (6, 7))


@pytest.mark.parametrize(("keys", "grid"), [
    (np.ones((1, 3)), (1, 1)), (np.zeros((1, 3)), (1, 1)), (np.eye(2), (1, 2)), (np.ones((2, 2)), (2, 1)),
    (np.ones((12, 3)), (3, 4)), (np.eye(12), (3, 4)), (np.zeros((12, 3)), (3, 4)),
    (np.vstack([np.eye(11, 12), np.zeros((1, 12))]), (3, 4)),
])  # fmt: skip
def test_nothing_to_cut_is_the_whole_image(keys, grid):
    found = token_cut_box(keys, grid, (16, 16), (16 * grid[0] - 2, 16 * grid[1] - 1))
    assert found.box == (0, 0, 16 * grid[1] - 1, 16 * grid[0] - 2)
    assert (found.seed, found.fallback) == (None, True)
    assert found.mask.all()
    assert found.mask.shape == grid


def test_a_zero_key_is_a_patch_like_any_other():
    keys = scene(5, 5, slice(1, 3), slice(1, 3)).astype(float)
    keys[24] = 0
    found = token_cut_box(keys, (5, 5), (16, 16), (80, 80))
    assert not found.fallback


def test_lengths_of_keys_leave_no_trace():
    generator = np.random.default_rng(0)
    keys = generator.normal(size=(48, 5)).astype(np.float32)
    lengths = 2.0 ** generator.integers(-8, 9, (48, 1)).astype(np.float32)
    one, two = (token_cut_box(k, (6, 8), (16, 16), (96, 128)) for k in (keys, keys * lengths))
    assert (one.box, one.seed) == (two.box, two.seed)


def test_tensors_give_what_arrays_give():
    keys = np.random.default_rng(3).normal(size=(30, 5)).astype(np.float32)
    one, two = (token_cut_box(k, (5, 6), (8, 8), (40, 44)) for k in (keys, torch.from_numpy(keys)))
    assert (one.box, one.seed) == (two.box, two.seed)
    np.testing.assert_array_equal(one.mask, two.mask)


@pytest.mark.parametrize(("change", "message"), [
    ({"keys": np.ones((5, 2))}, "token_cut_box: expected 2 x 3 = 6 keys"),
    ({"keys": np.full((6, 2), np.nan)}, "patch 0 is not finite"),
    ({"keys": np.full((6, 2), 1e30)}, "overflow float32"),
    ({"tau": float("nan")}, "expected a finite tau"),
    ({"eps": 0.0}, "0 < eps < 1, found 0.2 and 0.0"),
    ({"eps": 1.0}, "0 < eps < 1"),
])  # fmt: skip
def test_misuse(change, message):
    arguments = {"keys": np.ones((6, 2)), "grid": (2, 3), "scales": (16, 16), "image_hw": (30, 40), **change}
    with pytest.raises(UserError, match=message):
        token_cut_box(**arguments)
