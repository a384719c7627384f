"""Nearest views against a search by numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.patches.neighbours import Neighbours, find_neighbours, nearest_views
from tests.unit.patches.conftest import extracted


def cosines(vectors):
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize(("num", "most"), [(2, 30), (5, 3), (40, 30), (31, 30)])
def test_by_brute_force(num, most):
    vectors = np.random.default_rng(num).normal(size=(num, 6)).astype(np.float32)
    found = nearest_views(vectors, most)
    similar = cosines(vectors)
    np.fill_diagonal(similar, -np.inf)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.argsort(-similar, axis=1)[:, : min(most, num - 1)])


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 100), st.booleans())
def test_never_itself_also_among_equal_ones(num, kinds, seed, scaled):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(kinds, 3)).astype(np.float32)[generator.integers(0, kinds, num)]
    if scaled:  # the length does not count
        vectors = vectors * generator.uniform(0.5, 2, (num, 1)).astype(np.float32)
    found = nearest_views(vectors)
    assert found.shape == (num, min(30, num - 1))
    similar = cosines(vectors)
    for j, row in enumerate(found):
        assert j not in row
        assert len(set(row.tolist())) == len(row)
        others = np.sort(np.delete(similar[j], j))[::-1]
        np.testing.assert_allclose(similar[j, row], others[: len(row)], atol=1e-5)


def test_a_view_without_direction():
    with pytest.raises(UserError):
        nearest_views(np.array([[1, 0], [0, 0]], np.float32))


@pytest.mark.parametrize("crops", ["none", "five"])
def test_neighbours_of_patches_are_by_their_mean(scratch_root, backbone, originals, crops):
    patches = extracted(backbone, "patches", crops=crops)
    find_neighbours(patches, "neighbours")
    found = Neighbours.load("neighbours")
    assert found.patches == patches.digest
    means = np.stack([patches.vectors(int(i)).astype(np.float64).mean(axis=0) for i in patches.training])
    similar = cosines(means)
    np.fill_diagonal(similar, -np.inf)
    expected = np.argsort(-similar, axis=1)[:, : min(30, len(means) - 1)]
    np.testing.assert_allclose(
        np.take_along_axis(similar, found.neighbours.astype(np.int64), 1),
        np.take_along_axis(similar, expected, 1),
        atol=1e-6,
    )
    assert all(j not in row for j, row in enumerate(found.neighbours.tolist()))
