import math

import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.nearest import nearest_neighbours
from selfguide.metrics.per_cluster import agreement, per_cluster


def clusters(seed: int, sizes: list[int], spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre per id, in random order, and their ids."""
    random = np.random.default_rng(seed)
    ids = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = np.random.default_rng(7).normal(size=(len(sizes), 8)) * 2
    return (centres[ids] + spread * random.normal(size=(len(ids), 8))).astype(np.float32), ids


def table(fake, fake_ids, real, real_ids):
    nearest = nearest_neighbours(fake, real)[1][:, 0]
    return per_cluster(
        fake, fake_ids, real, real_ids, nearest, nearest_neighbours(real, real, exclude_self=True)[1][:, 0]
    )


def test_each_row_is_what_a_loop_over_the_ids_finds():
    fake, fake_ids = clusters(0, [9, 2, 1, 0, 5, 7])
    real, real_ids = clusters(1, [8, 6, 4, 3, 1, 9])
    found = table(fake, fake_ids, real, real_ids)
    assert sorted(found.id) == [0, 1, 2, 3, 4, 5]
    for row, cluster in enumerate(found.id):
        a, b = fake[fake_ids == cluster], real[real_ids == cluster]
        assert (found.num_samples[row], found.num_real[row]) == (len(a), len(b))
        expected = kernel_distance(a, b, subsets=None) if min(len(a), len(b)) >= 2 else math.nan
        assert found.kid[row] == pytest.approx(expected, nan_ok=True)
        hits = [real_ids[np.square(real - x).sum(axis=1).argmin()] == cluster for x in a]
        assert found.agreement[row] == pytest.approx(np.mean(hits) if hits else math.nan, nan_ok=True)
        hits = []
        for i in np.flatnonzero(real_ids == cluster):
            others = np.square(real - real[i]).sum(axis=1)
            others[i] = np.inf
            hits.append(real_ids[others.argmin()] == cluster)
        assert found.agreement_real[row] == pytest.approx(np.mean(hits))


def test_the_cluster_that_fails_is_first_and_those_without_a_distance_last():
    real, real_ids = clusters(1, [40] * 6)
    fake, fake_ids = clusters(2, [30, 30, 30, 30, 1, 0])
    fake[fake_ids == 2] += 3
    found = table(fake, fake_ids, real, real_ids)
    assert found.id[0] == 2
    assert (np.diff(found.kid[:4]) <= 0).all()
    assert found.id[4:].tolist() == [4, 5]
    assert np.isnan(found.kid[4:]).all()


def test_agreement_falls_when_conditions_are_ignored_and_is_that_of_real_images_for_real_images():
    real, real_ids = clusters(1, [100] * 5)
    fake, fake_ids = clusters(2, [100] * 5)
    nearest = real_ids[nearest_neighbours(fake, real)[1][:, 0]]
    assert agreement(fake_ids, nearest) > 0.8
    assert agreement(np.roll(fake_ids, 1), nearest) == pytest.approx(0.2, abs=0.1)
    real_nearest = real_ids[nearest_neighbours(real, real, exclude_self=True)[1][:, 0]]
    assert agreement(real_ids, real_nearest) == pytest.approx(agreement(fake_ids, nearest), abs=0.08)


def test_the_null_condition_is_one_row_that_asks_for_nothing():
    real, fake = clusters(1, [20])[0], clusters(2, [15])[0]
    found = table(fake, np.full(15, -1), real, np.full(20, -1))
    assert (found.id.tolist(), found.num_real.tolist(), found.num_samples.tolist()) == ([-1], [20], [15])
    assert found.kid[0] == pytest.approx(kernel_distance(fake, real, subsets=None))
    assert np.isnan([found.agreement[0], found.agreement_real[0]]).all()
    assert math.isnan(agreement(np.array([-1, -1]), np.array([-1, 3])))
    assert agreement(np.array([-1, 3]), np.array([-1, 4])) == 0


def test_the_csv_is_plain(tmp_path):
    real = np.array([[0.0], [1.0], [4.0], [6.0]], dtype=np.float32)
    fake = np.array([[0.0], [2.0], [5.0]], dtype=np.float32)
    found = per_cluster(
        fake, np.array([0, 0, 1]), real, np.array([0, 0, 1, 1]), np.array([0, 2, 2]), np.array([1, 0, 3, 2])
    )
    found.save_csv(tmp_path / "per_cluster.csv")
    assert (tmp_path / "per_cluster.csv").read_text() == (
        "id,num_real,num_samples,kid,agreement,agreement_real\n0,2,2,-13,0.5,1\n1,2,1,,1,1\n"
    )


def test_large_numbers_of_images_stay_whole_in_the_csv(tmp_path):
    found = per_cluster(
        np.ones((2, 1), np.float32), np.array([1234567, 1234567]), np.ones((2, 1), np.float32),
        np.array([1234567, 1234567]), np.zeros(2, int), np.zeros(2, int),
    )  # fmt: skip
    found.save_csv(tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[1].startswith("1234567,2,2,")


def test_arrays_that_do_not_belong_together_are_refused():
    real, ids = clusters(1, [4, 4])
    rows = np.zeros(8, int)
    with pytest.raises(UserError, match=r"samples: expected features and nearest images of 8 ids, found \[8, 7\]"):
        per_cluster(real, ids, real, ids, rows[:7], rows)
    with pytest.raises(UserError, match="real images: expected"):
        per_cluster(real, ids, real[:7], ids, rows, rows)


def test_an_image_of_several_ids_counts_for_each_of_them():
    random = np.random.default_rng(0)
    real, fake = (random.normal(size=(n, 4)).astype(np.float32) for n in (30, 20))

    def draw(num):
        sets = random.integers(-1, 4, size=(num, 3))
        sets[0] = -1  # no object at all
        return np.sort(sets)[:, ::-1].astype(np.int32)  # -1 behind the ids, with repeats

    real_sets, fake_sets = draw(30), draw(20)
    real_sets, fake_sets = (np.array([[*sorted(set(row) - {-1}), *[-1] * 3][:3] for row in sets], np.int32)
                            for sets in (real_sets, fake_sets))  # fmt: skip
    found = table(fake, fake_sets, real, real_sets)
    assert sorted(found.id) == [-1, 0, 1, 2, 3]
    nearest = [np.square(real - x).sum(axis=1).argmin() for x in fake]
    for row, number in enumerate(found.id):
        has = [sets.max() < 0 if number < 0 else number in sets for sets in fake_sets]
        assert found.num_samples[row] == sum(has)
        if number >= 0:
            hits = [number in real_sets[nearest[i]] for i in np.flatnonzero(has)]
            assert found.agreement[row] == pytest.approx(np.mean(hits))
    pairs = [(i, number) for i, sets in enumerate(fake_sets) for number in sets if number >= 0]
    expected = np.mean([number in real_sets[nearest[i]] for i, number in pairs])
    assert agreement(fake_sets, real_sets[nearest]) == pytest.approx(expected)
