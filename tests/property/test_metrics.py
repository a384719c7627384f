"""Closed forms, invariances and naive oracles of the scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.manifold import manifold_scores
from selfguide.metrics.nearest import nearest_neighbours

seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=25)


def draw(seed: int, num: int, width: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(width, width))
    return (random.normal(size=(num, width)) @ mixing + random.normal(size=width)).astype(np.float32)


def integers(seed: int, num: int, width: int) -> np.ndarray:
    """Features with many exact ties and duplicates."""
    return np.random.default_rng(seed).integers(0, 3, (num, width)).astype(np.float32)


# Frechet distance


def standard(seed: int, num: int, width: int) -> np.ndarray:
    """Features of mean exactly 0 and covariance exactly I; num > width."""
    centred = np.random.default_rng(seed).normal(size=(num, width))
    return np.linalg.qr(centred - centred.mean(axis=0))[0] * np.sqrt(num - 1)


@some
@given(seeds, st.lists(st.floats(-10, 10), min_size=1, max_size=6))
def test_frechet_of_shifted_standard_normals_is_the_squared_shift(seed, shift):
    a, b = standard(seed, 20, len(shift)), standard(seed + 1, 31, len(shift)) + shift
    assert frechet_distance(a, b) == pytest.approx(np.square(shift).sum(), rel=1e-9, abs=1e-9)


@some
@given(seeds, st.integers(1, 8))
def test_frechet_of_commuting_covariances(seed, width):
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(width, width)))[0]
    deviations = random.uniform(0, 3, (2, width))
    a, b = (standard(seed + i, 20 + i, width) @ np.diag(deviations[i]) @ axes.T for i in range(2))
    expected = np.square(deviations[0] - deviations[1]).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@some
@given(seeds, st.integers(2, 10), st.integers(2, 10))
def test_frechet_of_fewer_images_than_features_is_that_of_the_features_that_vary(seed, n, m):
    a, b = draw(seed, n, 4).astype(float), draw(seed + 1, m, 4).astype(float)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(30, 30)))[0]
    wide = [np.hstack([x, np.zeros((len(x), 26))]) @ turn for x in (a, b)]
    expected = frechet_distance(a, b)
    assert np.isfinite(expected)
    assert frechet_distance(*wide) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@some
@given(seeds, st.integers(2, 40), st.integers(2, 40), st.integers(1, 12))
def test_frechet_is_symmetric_and_zero_on_itself_also_with_fewer_images_than_features(seed, n, m, width):
    a, b = draw(seed, n, width), draw(seed + 1, m, width)
    scale = np.trace(np.cov(a.T.astype(float)).reshape(width, width)) + 1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9 * scale)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * scale)


@some
@given(seeds, st.integers(2, 8))
def test_frechet_does_not_depend_on_rotation_translation_or_order(seed, width):
    a, b = draw(seed, 60, width).astype(float), draw(seed + 1, 50, width).astype(float)
    random = np.random.default_rng(seed)
    turn, shift = ortho_group.rvs(width, random_state=seed % 1000), random.normal(size=width)
    expected = frechet_distance(a, b)
    assert frechet_distance(a @ turn + shift, b @ turn + shift) == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert frechet_distance(random.permutation(a), b) == pytest.approx(expected, rel=1e-9, abs=1e-9)


# Inception Score


@some
@given(seeds, st.integers(2, 20), st.integers(10, 60))
def test_inception_score_of_constant_logits_is_one(seed, classes, num):
    logits = np.tile(np.random.default_rng(seed).normal(size=classes), (num, 1))
    assert inception_score(logits) == pytest.approx((1, 0), abs=1e-12)


@some
@given(st.integers(2, 12), st.integers(1, 5))
def test_inception_score_of_balanced_certain_classes_is_their_number(classes, repeats):
    logits = 1000 * np.tile(np.eye(classes), (repeats, 1))
    assert inception_score(logits, splits=1) == pytest.approx((classes, 0), rel=1e-12)


@some
@given(seeds, st.integers(10, 47), st.integers(1, 10))
def test_inception_score_equals_its_definition(seed, num, splits):
    logits = np.random.default_rng(seed).normal(size=(num, 5)) * 3
    shuffled = logits[np.random.RandomState(2020).permutation(num)]
    p = np.exp(shuffled) / np.exp(shuffled).sum(1, keepdims=True)
    parts = [p[i * num // splits : (i + 1) * num // splits] for i in range(splits)]
    scores = [np.exp(np.mean([sum(row * np.log(row / part.mean(0))) for row in part])) for part in parts]
    assert inception_score(logits, splits) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9, abs=1e-12)


# Kernel distance


def kernel_loop(a: np.ndarray, b: np.ndarray) -> float:
    def k(x, y):
        return (x.astype(float) @ y.astype(float) / len(x) + 1) ** 3

    within_a = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    within_b = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    return within_a + within_b - 2 * np.mean([k(x, y) for x in a for y in b])


@some
@given(seeds, st.integers(2, 9), st.integers(2, 9))
def test_exact_kernel_distance_equals_a_loop(seed, n, m):
    a, b = draw(seed, n, 4), draw(seed + 1, m, 4)
    expected = kernel_loop(a, b)
    assert kernel_distance(a, b, subsets=None) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert kernel_distance(b, a, subsets=None) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@some
@given(seeds, st.integers(3, 8))
def test_kernel_distance_of_subsets_equals_a_loop(seed, size):
    a, b = draw(seed, 10, 4), draw(seed + 1, 8, 4)
    random = np.random.RandomState(2020)
    picks = [(random.choice(10, size, replace=False), random.choice(8, size, replace=False)) for _ in range(3)]
    expected = np.mean([kernel_loop(a[rows], b[columns]) for rows, columns in picks])
    assert kernel_distance(a, b, subsets=3, subset_size=size) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_kernel_distance_is_unbiased():
    random = np.random.default_rng(0)
    found = [kernel_distance(*random.normal(size=(2, 40, 3)), subsets=None) for _ in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


def test_kernel_distance_of_two_halves_of_one_set_is_about_zero():
    features = draw(3, 400, 5) / 3
    random = np.random.default_rng(0)
    halves = [np.split(random.permutation(features), 2) for _ in range(60)]
    found = [kernel_distance(a, b, subsets=None) for a, b in halves]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert np.abs(found).max() < 0.05 * kernel_distance(features[:200], features[200:] + 1, subsets=None)


@some
@given(seeds)
def test_kernel_distance_does_not_depend_on_order(seed):
    a, b = draw(seed, 30, 4), draw(seed + 1, 20, 4)
    random = np.random.default_rng(seed)
    expected = kernel_distance(a, b, subsets=None)
    scale = float(np.abs(np.vstack([a, b])).max()) ** 6
    permuted = kernel_distance(random.permutation(a), random.permutation(b), subsets=None)
    assert permuted == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale)
    # One set, permuted: below 0, as no image meets its copy within a set but each does across.
    assert kernel_distance(a, random.permutation(a), subsets=None) < 0


# Precision, recall, density, coverage


def manifold_loop(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    def distance(x, y):
        return np.square(x.astype(float) - y).sum()

    def radii(points):
        return [sorted(distance(x, y) for j, y in enumerate(points) if j != i)[k - 1] for i, x in enumerate(points)]

    real_radii, fake_radii = radii(real), radii(fake)
    return {
        "precision": np.mean([any(distance(x, y) <= r for x, r in zip(real, real_radii, strict=True)) for y in fake]),
        "recall": np.mean([any(distance(x, y) <= r for y, r in zip(fake, fake_radii, strict=True)) for x in real]),
        "density": np.mean([sum(distance(x, y) < r for x, r in zip(real, real_radii, strict=True)) for y in fake]) / k,
        "coverage": np.mean([min(distance(x, y) for y in fake) < r for x, r in zip(real, real_radii, strict=True)]),
    }


@some
@given(seeds, st.sampled_from([draw, integers]), st.integers(6, 14), st.integers(6, 14), st.integers(1, 5))
def test_manifold_scores_equal_a_loop_also_with_ties_whatever_the_tile(seed, kind, n, m, k):
    real, fake = kind(seed, n, 2), kind(seed + 1, m, 2)
    expected = manifold_loop(real, fake, k)
    for tile in (1, 4, 5, 100):
        assert manifold_scores(real, fake, k, tile) == pytest.approx(expected, abs=1e-12)


@some
@given(seeds, st.integers(1, 5))
def test_swapping_real_and_fake_swaps_precision_and_recall(seed, k):
    real, fake = draw(seed, 15, 3), draw(seed + 1, 12, 3)
    forth, back = manifold_scores(real, fake, k), manifold_scores(fake, real, k)
    assert (forth["precision"], forth["recall"]) == (back["recall"], back["precision"])


@some
@given(seeds)
def test_manifold_scores_of_a_copy_of_a_disjoint_set_and_of_a_collapse(seed):
    real = draw(seed, 30, 3)
    assert manifold_scores(real, real[::-1].copy(), 3) == {
        "precision": 1, "recall": 1, "density": pytest.approx(1), "coverage": 1,
    }  # fmt: skip
    assert set(manifold_scores(real, real + 1e4, 3).values()) == {0}
    collapsed = manifold_scores(real, np.repeat(real[:1], 30, axis=0), 3)
    # 29 real images lie off the one point, whose ball is a point; `<=` counts the one on it.
    assert (collapsed["precision"], collapsed["recall"]) == (1, pytest.approx(1 / 30))


@some
@given(seeds, st.sampled_from([draw, integers]), st.integers(1, 4))
def test_coverage_and_precision_follow_from_nearest_neighbours(seed, kind, k):
    real, fake = kind(seed, 14, 2), kind(seed + 1, 11, 2)
    radii = nearest_neighbours(real, real, k, exclude_self=True)[0][:, -1]
    to_fake = nearest_neighbours(real, fake)[0][:, 0]
    found = manifold_scores(real, fake, k)
    assert found["coverage"] == pytest.approx((to_fake < radii).mean())
    to_real, indices = nearest_neighbours(fake, real, len(real))
    assert found["precision"] == pytest.approx((to_real <= radii[indices]).any(axis=1).mean())
