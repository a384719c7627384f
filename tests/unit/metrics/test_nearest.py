import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.metrics.manifold import neighbour_radii
from selfguide.metrics.nearest import nearest_neighbours


def few_values(seed: int, num: int) -> np.ndarray:
    """Features with many duplicates and equal distances."""
    return np.random.default_rng(seed).integers(0, 3, (num, 3)).astype(np.float32)


def sorted_loop(queries: np.ndarray, points: np.ndarray, num: int, exclude_self: bool):
    squares = np.square(queries[:, None].astype(float) - points).sum(axis=2)
    if exclude_self:
        np.fill_diagonal(squares, np.inf)
    order = np.argsort(squares, axis=1, kind="stable")[:, :num]
    return np.sqrt(np.take_along_axis(squares, order, axis=1)), order


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.integers(6, 20), st.integers(1, 5), st.booleans())
def test_equals_a_stable_sort_whatever_the_tile(seed, m, n, num, exclude_self):
    points = few_values(seed, n)
    queries = points if exclude_self else few_values(seed + 1, m)
    expected, order = sorted_loop(queries, points, num, exclude_self)
    for tile in (1, 3, 4, 100):
        distances, indices = nearest_neighbours(queries, points, num, tile, exclude_self)
        np.testing.assert_array_equal(indices, order)
        np.testing.assert_allclose(distances, expected, rtol=1e-7)
    assert (distances.dtype, indices.dtype) == (np.float32, np.int64)


def test_copies_are_at_zero_and_in_order_in_features_like_those_of_a_network():
    random = np.random.default_rng(0)
    points = np.maximum(random.normal(0.5, 1, (40, 1280)), 0).astype(np.float32) * 7
    points[[5, 17, 33]] = points[5]
    for tile in (7, 16, 64):
        distances, indices = nearest_neighbours(points[[17, 3]], points, 4, tile)
        assert indices[0, :3].tolist() == [5, 17, 33]
        assert distances[0, :3].tolist() == [0, 0, 0]
        assert indices[1, 0] == 3
        distances, indices = nearest_neighbours(points, points, 2, tile, exclude_self=True)
        assert indices[[5, 17, 33]].tolist() == [[17, 33], [5, 33], [5, 17]]
        np.testing.assert_allclose(distances[3], sorted_loop(points, points, 2, True)[0][3], rtol=1e-6)


def test_a_radius_is_the_distance_to_the_last_of_k_neighbours():
    points = few_values(0, 30)
    for k in (1, 4):
        distances = nearest_neighbours(points, points, k, exclude_self=True)[0]
        np.testing.assert_array_equal(np.sqrt(neighbour_radii(points, k, tile=8)), distances[:, -1])


@pytest.mark.parametrize(("num", "exclude_self", "limit"), [(0, False, 9), (10, False, 9), (9, True, 8)])
def test_more_neighbours_than_points_are_refused(num, exclude_self, limit):
    points = few_values(0, 9)
    with pytest.raises(UserError, match=f"expected 1 to {limit}.*found {num}"):
        nearest_neighbours(points, points, num, exclude_self=exclude_self)


def test_bad_features_are_refused():
    points = few_values(0, 9)
    with pytest.raises(UserError, match="width 2 and 3"):
        nearest_neighbours(points[:, :2], points)
    with pytest.raises(UserError, match="the same array"):
        nearest_neighbours(points.copy(), points, exclude_self=True)
