"""The bounds of `Nearest` against float64, where rounding moves scores as far as it can."""

import pytest
import torch

from selfguide.clusters.nearest import Nearest

BF16 = torch.bfloat16


def search(points, centroids, dtype=BF16):
    """What `Nearest` and the points say: the object, its inputs, and what it found; undecided ones decided."""
    squares, fast = points.double().square().sum(1).float(), points.to(dtype)
    nearest, rounding = Nearest(centroids, dtype), (points - fast).norm(dim=1)
    found = nearest.search(fast, squares, rounding, lambda numbers: points[numbers])
    exact = nearest.exact(points, squares)
    ids = torch.where(found.undecided, exact.ids, found.ids)
    return nearest, (fast, squares, rounding), found, exact, ids


def check(points, centroids, dtype=BF16):
    """Every score, answer and bound against all distances in float64."""
    nearest, (fast, squares, rounding), found, exact, ids = search(points, centroids, dtype)
    distances = torch.cdist(points.double(), centroids.double(), compute_mode="donot_use_mm_for_euclid_dist")
    true = points.double() @ centroids.double().T - centroids.double().square().sum(1) / 2
    scores = torch.mm(fast, nearest.rounded.T) - nearest.halves
    doubt = nearest._doubt(squares, rounding)
    for column in range(len(centroids)):
        assert (nearest._highest(scores[:, column], doubt) >= true[:, column]).all()
        assert (nearest._least(scores[:, column], doubt) <= true[:, column]).all()
    chosen = distances.gather(1, ids[:, None])[:, 0]
    slack = nearest._slack(squares).double()
    assert (chosen.square() - distances.amin(1).square() <= slack).all()
    for answer, asked in ((found, ~found.undecided), (exact, torch.ones_like(found.undecided))):
        own = distances.gather(1, answer.ids[:, None])[:, 0]
        rest = distances.scatter(1, answer.ids[:, None], torch.inf).amin(1)
        assert (answer.upper >= own)[asked].all()
        assert (answer.lower <= rest)[asked].all()


def test_a_rounding_half_up_and_one_half_down_do_not_swap_two_centroids():
    """The smallest case: bfloat16 rounds one product down and the other up, by .98 and .91 of half a unit."""
    points, centroids = torch.tensor([[135 / 128]]), torch.tensor([[137 / 128], [138 / 128]])
    products = (points.to(BF16) @ centroids.T.to(BF16)).double()
    assert (products - points.double() @ centroids.T.double()).mul(256).tolist() == [[-63 / 64, 58 / 64]]
    _, _, found, _, ids = search(points, centroids)
    assert ids.tolist() == [0]
    assert not found.undecided.any()  # between two, their difference decides


@pytest.mark.parametrize("scale", [1, 1 / 2, -1 / 4, 2.0**-20])
def test_every_point_between_every_two_neighbours_of_the_grid(scale):
    """All numbers of 8 bits in 1..2, exact in bfloat16: only products are rounded, by all that they can be."""
    grid = torch.arange(128, 256).div(128).mul(scale)[:, None]
    for apart in (1, 2, 5):
        for first in range(128 - apart):
            centroids = torch.stack([grid[first], grid[first + apart]])
            ids = search(grid, centroids)[-1]
            distances = (grid.double() - centroids.double().T).abs()
            assert (distances.gather(1, ids[:, None])[:, 0] == distances.amin(1)).all()


@pytest.mark.parametrize("dtype", [BF16, torch.float32])
@pytest.mark.parametrize("width", [1, 2, 12, 384, 2048])
def test_bounds_hold_where_products_are_just_above_a_power_of_two(width, dtype):
    """Points beside their centroids, whose products round by up to half a unit, and sums that all round one way."""
    generator = torch.Generator().manual_seed(width)
    even = torch.full((40, width), width**-0.5) * (1 + torch.rand(40, 1, generator=generator) / 64)
    noise = torch.nn.functional.normalize(torch.randn(40, width, generator=generator))
    for points in (even, -even, noise, even + noise / 16, 2.0**-12 * noise, (even + noise).to(BF16).float()):
        near = points + 2.0**-9 * torch.randn(40, width, generator=generator) * width**-0.5
        for centroids in (near, near.to(BF16).float(), torch.cat([near, 1.9 * noise[:2]]), near[:1]):
            check(points, centroids, dtype)
