"""Lloyd's algorithm against the plain one: all distances of all points, in float64, every time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfguide.clusters.lloyd import Lloyd
from selfguide.clusters.nearest import Nearest
from selfguide.clusters.points import UnitPoints

CPU = torch.device("cpu")


class Bar:
    steps = 0

    def update(self, steps=1):
        self.steps += steps


def plain(points, centroids, num_iterations):
    """(ids, centroids, inertia) after so many updates, and an assignment."""
    for _ in range(num_iterations):
        ids = ((points[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)
        centroids = np.stack([points[ids == j].mean(0) if (ids == j).any() else c for j, c in enumerate(centroids)])
    distances = ((points[:, None] - centroids[None]) ** 2).sum(-1)
    return distances.argmin(1), centroids, distances.min(1).sum()


def mixture(size, width, classes, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(classes, width))
    return (centers[rng.integers(0, classes, size)] + 0.7 * rng.normal(size=(size, width)) + 1).astype(np.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("k", "num_iterations"), [(7, 1), (7, 40), (200, 12), (1, 3)])
def test_equals_the_plain_algorithm(dtype, k, num_iterations):
    features = mixture(1500, 16, 12)
    points = UnitPoints(features, CPU, dtype, threads=2)
    rows = torch.arange(k) * 7
    run, bar = Lloyd(points, points[rows].clone(), points.everything), Bar()
    run.fit(num_iterations, np.random.default_rng(0), bar)
    unit = features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    ids, centroids, inertia = plain(unit, unit[rows.numpy()], num_iterations)
    np.testing.assert_array_equal(run.ids, ids)
    np.testing.assert_allclose(run.centroids + points.mean, centroids, atol=1e-6)
    assert run.inertia() == pytest.approx(inertia, rel=1e-6)
    assert bar.steps == num_iterations


def test_far_movers_are_looked_at_and_most_points_are_not_searched(monkeypatch):
    """Bounds must both hold (the test above) and help: late iterations search a small part of the points."""
    looked, searched = [], []
    for name, calls in (("nearer", looked), ("search", searched)):
        real = getattr(Nearest, name)

        def count(self, points, *rest, real=real, calls=calls):
            calls.append(len(points))
            return real(self, points, *rest)

        monkeypatch.setattr(Nearest, name, count)
    points = UnitPoints(mixture(6000, 16, 40), CPU, torch.bfloat16, threads=1)
    run = Lloyd(points, points[torch.arange(0, 6000, 10)].clone(), points.everything)
    run.fit(12, np.random.default_rng(0), Bar())
    assert sum(looked) > 0
    assert sum(searched) < 0.5 * 13 * 6000


def test_centroids_move_no_farther_than_their_bounds_give_way():
    """Told from float64, and with room for the rounding of the addition to a bound."""
    points = UnitPoints(mixture(600, 200, 12), CPU, torch.float32, threads=1)
    run = Lloyd(points, points[torch.arange(0, 600, 10)].clone(), points.everything)
    run._assign(Nearest(run.centroids, torch.float32))
    before = run.centroids.double()
    moves = run._update(np.random.default_rng(0))
    assert (moves.double() >= (run.centroids.double() - before).norm(dim=1) + 2.0**-23).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_empty_cluster_takes_half_of_a_large_one(dtype):
    features = np.concatenate([mixture(400, 8, 1), -mixture(20, 8, 1)])
    points = UnitPoints(features, CPU, dtype, threads=1)
    start = points[torch.tensor([0, 410, 410, 410])].clone()  # of equals the lowest wins: two start empty
    run = Lloyd(points, start, points.everything)
    run.fit(10, np.random.default_rng(0), Bar())
    assert (run.sizes() > 0).all()


def test_points_not_fitted_on_change_nothing_until_they_are_assigned():
    features = mixture(900, 8, 5)
    points = UnitPoints(features, CPU, torch.float32, threads=1)
    fitted = torch.arange(0, 900, 3)
    run = Lloyd(points, points[fitted[:5]].clone(), fitted)
    run.fit(20, np.random.default_rng(0), Bar())
    assert ((run.ids >= 0).nonzero()[:, 0] == fitted).all()
    chosen = points[fitted].numpy().astype(np.float64)
    np.testing.assert_allclose(run.centroids, plain(chosen, chosen[:5], 20)[1], atol=1e-6)
    run.assign_all()
    distances = ((points[points.everything].numpy()[:, None] - run.centroids.numpy()[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(run.ids, distances.argmin(1))
    assert run.inertia() == pytest.approx(distances.min(1).sum(), rel=1e-5)


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 2, 3, 5, 100, 1024, 1025, 2100]),
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.floats(0, 0.05),
    st.booleans(),
)
def test_the_nearest_is_the_nearest_and_bounds_hold(seed, k, dtype, spread, twins):
    """With centroids so close together that bfloat16 cannot tell them apart, and with some of them equal."""
    rng = torch.Generator().manual_seed(seed)
    points = torch.nn.functional.normalize(torch.randn(64, 12, generator=rng))
    centroids = points[:1] * 0.5 + spread * torch.randn(k, 12, generator=rng)
    if twins:
        centroids[k // 2] = centroids[0]
    squares = points.square().sum(1)
    nearest, fast = Nearest(centroids, dtype), points.to(dtype)
    rounding = (points - fast).norm(dim=1)
    found = nearest.search(fast, squares, rounding, lambda numbers: points[numbers])
    exact = nearest.exact(points, squares)
    distances = torch.cdist(points.double(), centroids.double())
    for answer, asked in ((found, ~found.undecided), (exact, torch.ones(64, dtype=torch.bool))):
        chosen = distances.gather(1, answer.ids[:, None])[:, 0]
        assert (chosen - distances.amin(1))[asked].le(2e-6).all()
        assert (answer.upper >= chosen)[asked].all()
        rest = distances.scatter(1, answer.ids[:, None], torch.inf).amin(1)
        assert (answer.lower <= rest)[asked].all()
    ids = torch.randint(0, k, (64,), generator=rng)
    assert (nearest.farther(fast, squares, rounding, ids) >= distances.gather(1, ids[:, None])[:, 0]).all()
    some = torch.where(ids % 2 == 0, ids, -1)
    rest = torch.where((torch.arange(k) == some[:, None]), torch.inf, distances).amin(1)
    assert (nearest.nearer(fast, squares, rounding, some) <= rest).all()


@pytest.mark.gpu
def test_a_gpu_finds_the_same():
    features = mixture(5000, 64, 30)
    found = []
    for device in (CPU, torch.device("cuda")):
        points = UnitPoints(features, device, torch.bfloat16, threads=1)
        run = Lloyd(points, points[torch.arange(0, 5000, 25, device=device)].clone(), points.everything)
        run.fit(10, np.random.default_rng(0), Bar())
        found.append(run)
    assert found[1].inertia() == pytest.approx(found[0].inertia(), rel=1e-3)
    assert (found[0].ids == found[1].ids.cpu()).float().mean() > 0.99
