import numpy as np
import pytest
import torch

from selfguide.boxes.lost import lost_box
from selfguide.core.errors import UserError
from tests.unit.boxes import oracles


def same_as_oracle(keys, grid, k_patches=100, scales=(16, 8), image_hw=None):
    image_hw = image_hw or (grid[0] * scales[0] - 5, grid[1] * scales[1] - 3)
    found = lost_box(keys, grid, scales, image_hw, k_patches)
    box, seed, cells, fallback = oracles.lost(keys, grid, scales, image_hw, k_patches)
    assert found.box == box
    assert all(type(value) is int for value in found.box)
    assert found.seed == seed
    assert {tuple(cell) for cell in np.argwhere(found.mask).tolist()} == cells
    assert found.mask.shape == grid
    assert found.mask.dtype == np.bool_
    assert found.fallback is fallback
    return found


def scene(rows, columns, object_rows, object_columns, width=6, seed=0):
    """Whole-number keys: the ground agrees with itself, the object with itself, and they disagree."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(1, 4, width)
    keys = ground + generator.integers(-1, 2, (rows, columns, width))
    keys[object_rows, object_columns] -= 2 * ground
    return keys.reshape(-1, width)


def test_an_object_on_its_ground():
    found = same_as_oracle(scene(7, 9, slice(2, 5), slice(3, 7)), (7, 9))
    assert found.box == (24, 32, 56, 80)
    assert not found.fallback


@pytest.mark.parametrize("seed", range(12))
def test_random_keys_with_many_ties(seed):
    generator = np.random.default_rng(seed)
    rows, columns = (int(n) for n in generator.integers(1, 9, 2))
    keys = generator.integers(-2, 3, (rows * columns, int(generator.integers(1, 6))))
    for k_patches in (1, 4, rows * columns, 1000):
        same_as_oracle(keys, (rows, columns), k_patches)


def test_an_object_of_more_than_half_makes_its_ground_the_object():
    found = same_as_oracle(scene(6, 6, slice(0, 6), slice(0, 4)), (6, 6))
    assert found.box == (32, 0, 45, 91)


def test_equal_keys_are_one_object_from_patch_0():
    found = same_as_oracle(np.ones((12, 3)), (3, 4))
    assert (found.seed, found.fallback) == (0, False)
    assert found.mask.all()


def test_orthogonal_keys_give_patch_0_and_the_flag():
    found = same_as_oracle(np.eye(6), (2, 3))
    assert found.box == (0, 0, 8, 16)
    assert found.fallback


@pytest.mark.parametrize("keys", [[[3.0, 1.0]], [[0.0, 0.0]]])
def test_one_patch_is_the_whole_image(keys):
    found = same_as_oracle(keys, (1, 1), image_hw=(10, 7))
    assert found.box == (0, 0, 7, 10)
    assert found.fallback


def test_a_zero_key_agrees_with_nothing():
    keys = scene(4, 4, slice(0, 2), slice(0, 2))
    keys[9] = 0
    found = same_as_oracle(keys, (4, 4))
    assert (found.seed, found.fallback) == (9, True)
    assert found.box == (0, 0, 29, 59)
    assert same_as_oracle(np.zeros((6, 2)), (2, 3)).fallback


def test_two_objects_alike_give_the_one_with_the_seed():
    """Diagonal neighbours do not hang together, and holes stay."""
    keys = np.array([[-1], [1], [1], [1], [-1], [1], [1], [1], [1]])
    found = same_as_oracle(keys, (3, 3))
    assert found.mask.sum() == 1
    ring = -np.ones((5, 5), int)
    ring[1:4, 1:4], ring[2, 2] = 1, -1
    same_as_oracle(ring.reshape(-1, 1), (5, 5))


def test_dots_of_exactly_zero_do_not_count():
    keys = np.array([[1, 0], [0, 1], [1, 1], [0, 1]])
    assert same_as_oracle(keys, (1, 4)).seed == 0  # [0, 1] and [1, 0] do not agree: degrees 1, 2, 3, 2


def test_the_size_of_a_product_counts_and_not_only_its_sign():
    # Seed 0 and candidate 1 vote; patch 2 agrees a little with one and disagrees much with the other.
    keys = np.array([[1, 1, 0], [1, 0, 3], [1, 0, -1]])
    same_as_oracle(keys, (1, 3), 2)


@pytest.mark.parametrize("make", [
    lambda keys: torch.from_numpy(keys), lambda keys: torch.from_numpy(keys).bfloat16(), lambda keys: keys[::-1][::-1],
    lambda keys: np.asfortranarray(keys), lambda keys: keys.tolist(), lambda keys: keys.astype(np.int16),
    lambda keys: torch.from_numpy(keys).requires_grad_(), lambda keys: keys.astype(np.float64),
])  # fmt: skip
def test_any_array_or_tensor(make):
    keys = scene(5, 6, slice(1, 3), slice(2, 5)).astype(np.float32)
    grid, scales, image_hw = (5, 6), (16, 16), (80, 96)
    assert lost_box(make(keys), grid, scales, image_hw).box == lost_box(keys, grid, scales, image_hw).box


def test_fractions_of_pixels_stay():
    keys = scene(7, 9, slice(2, 5), slice(3, 7))
    found = lost_box(keys, (7, 9), (2.5, 0.75), (17, 6))
    assert found.box == (2.25, 5.0, 5.25, 12.5)
    assert all(isinstance(value, float) for value in found.box)


def test_numpy_numbers_are_whole_numbers_too():
    keys = scene(7, 9, slice(2, 5), slice(3, 7))
    found = lost_box(keys, np.array([7, 9]), torch.Size([16, 8]), (np.int64(107), np.int64(69)), np.int64(100))
    assert found.box == (24, 32, 56, 80)


@pytest.mark.parametrize(("change", "message"), [
    ({"keys": np.ones(6)}, r"keys: expected real numbers \(N, D\), found float64 \(6,\)"),
    ({"keys": np.ones((1, 6, 2))}, r"found float64 \(1, 6, 2\)"),
    ({"keys": np.ones((0, 2))}, r"found float64 \(0, 2\)"),
    ({"keys": np.ones((6, 2), complex)}, "found complex128"),
    ({"keys": np.ones((5, 2))}, "2 x 3 = 6 keys for the grid, found 5"),
    ({"keys": np.full((6, 2), np.nan)}, "the key of patch 0 is not finite"),
    ({"keys": np.array([[1.0]] * 4 + [[np.inf]] * 2)}, r"patch 4 is not finite \(2 of 6"),
    ({"keys": np.full((6, 2), 1e39)}, "not finite"),
    ({"keys": np.full((6, 2), 1e30)}, r"up to 1.0e\+30 overflow float32"),
    ({"grid": 6}, "grid: expected two numbers"),
    ({"grid": (0, 6)}, "grid: expected whole numbers from 1, found 0"),
    ({"grid": (2.5, 3)}, "grid: expected whole numbers from 1, found 2.5"),
    ({"scales": (0, 8)}, "scales: expected positive pixels per patch, found 0"),
    ({"scales": (float("nan"), 8)}, "scales: expected positive pixels per patch, found nan"),
    ({"scales": 16}, "scales: expected two numbers"),
    ({"image_hw": (0, 8)}, "image_hw: expected whole numbers from 1"),
    ({"image_hw": (3, 20, 20)}, "image_hw: expected two numbers"),
    ({"k_patches": 0}, "k_patches: expected a whole number from 1, found 0"),
    ({"k_patches": 2.0}, "k_patches: expected a whole number from 1, found 2.0"),
])  # fmt: skip
def test_misuse(change, message):
    arguments = {"keys": np.ones((6, 2)), "grid": (2, 3), "scales": (16, 16), "image_hw": (30, 40), **change}
    with pytest.raises(UserError, match=message):
        lost_box(**arguments)
