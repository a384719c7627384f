import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfguide.condition.corruption import corrupt, corrupted_rows
from selfguide.core.errors import UserError

ids_strategy = st.lists(st.integers(-1, 9), min_size=1, max_size=60).map(lambda v: np.array(v, np.int32))


@given(ids_strategy, st.floats(0, 1), st.integers(0, 1000))
def test_histogram_is_unchanged_and_only_the_named_rows_move(ids, fraction, seed):
    before = ids.copy()
    found = corrupt(ids, fraction, seed)
    assert found.dtype == ids.dtype
    assert np.array_equal(ids, before)
    assert np.array_equal(np.sort(found), np.sort(ids))
    untouched = np.setdiff1d(np.arange(len(ids)), corrupted_rows(len(ids), fraction, seed))
    assert np.array_equal(found[untouched], ids[untouched])


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
def test_corrupted_images_are_nested(n, a, b, seed):
    low, high = sorted([a, b])
    assert set(corrupted_rows(n, low, seed)) <= set(corrupted_rows(n, high, seed))
    assert len(set(corrupted_rows(n, high, seed))) == round(high * n)


def test_zero_changes_nothing_and_one_shuffles_nearly_all():
    ids = np.arange(1000, dtype=np.int32)
    assert np.array_equal(corrupt(ids, 0.0, 0), ids)
    assert (corrupt(ids, 1.0, 0) != ids).mean() > 0.99
    half = corrupt(ids, 0.5, 0) != ids
    assert 0.48 < half.mean() <= 0.5


def test_seed_decides():
    ids = np.arange(100, dtype=np.int32)
    assert np.array_equal(corrupt(ids, 0.5, 1), corrupt(ids, 0.5, 1))
    assert not np.array_equal(corrupt(ids, 0.5, 1), corrupt(ids, 0.5, 2))


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fraction_outside_is_an_error(fraction):
    with pytest.raises(UserError, match=r"corruption: expected a fraction in \[0, 1\]"):
        corrupt(np.arange(3, dtype=np.int32), fraction, 0)
