import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from selfguide.clusters import kmeans as module
from selfguide.clusters.kmeans import KMeansResult, kmeans
from selfguide.core.errors import UserError
from tests.conftest import HANGS


@pytest.fixture(params=["faiss", torch.float32, torch.bfloat16], autouse=True)
def way(request, monkeypatch):
    """Every test holds for faiss, and for ours on hardware of either kind."""
    if request.param != "faiss":
        monkeypatch.setattr(module, "FAISS_K", 0)
        monkeypatch.setattr(module, "_hardware", lambda: (torch.device("cpu"), request.param))
    return request.param


def normalise(features):
    return features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)


def cluster(features, k, seed=0, most=None, redo=1, iterations=20) -> KMeansResult:
    return kmeans(features, k, seed, num_iterations=iterations, num_redo=redo, max_points_per_centroid=most)


@pytest.fixture(scope="module")
def blobs():
    """400 points around 5 well separated directions, with lengths that vary 100-fold."""
    centers = np.eye(5, 8) * 4
    points, labels = make_blobs(400, centers=centers, cluster_std=0.2, random_state=0)
    lengths = np.random.default_rng(0).uniform(0.1, 10, (400, 1))
    return (points * lengths).astype(np.float32), labels


def test_finds_the_true_directions_whatever_the_lengths(blobs):
    points, labels = blobs
    result = cluster(points, 5, redo=5)
    pairs = set(zip(result.ids.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == 5  # a bijection between clusters and directions
    assert sorted(result.sizes) == sorted(np.bincount(labels))


def test_assignment_is_to_the_nearest_centroid_of_the_normalised_point(blobs):
    points, _ = blobs
    result = cluster(points, 13)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    distances = ((unit[:, None].astype(np.float64) - result.centroids[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(result.ids, distances.argmin(1))
    assert result.inertia == pytest.approx(distances.min(1).sum(), rel=1e-6)
    np.testing.assert_array_equal(result.sizes, np.bincount(result.ids, minlength=13))


def test_centroids_are_the_means_of_normalised_members(blobs):
    points, _ = blobs
    result = cluster(points, 5, redo=5, iterations=50)  # converged
    unit = normalise(points)
    means = np.stack([unit[result.ids == c].mean(0) for c in range(5)])
    np.testing.assert_allclose(result.centroids, means, atol=1e-5)


def test_types_and_shapes(blobs):
    result = cluster(blobs[0], 7)
    assert (result.ids.dtype, result.centroids.dtype, result.sizes.dtype) == (np.int32, np.float32, np.int64)
    assert (result.ids.shape, result.centroids.shape, result.sizes.shape) == ((400,), (7, 8), (7,))
    assert isinstance(result.inertia, float)


def test_the_input_is_not_changed_and_may_be_read_only(blobs):
    points = blobs[0].copy()
    points.setflags(write=False)
    cluster(points, 3)
    np.testing.assert_array_equal(points, blobs[0])


def test_one_cluster_has_the_mean_as_centroid(blobs):
    result = cluster(blobs[0], 1)
    np.testing.assert_allclose(result.centroids[0], normalise(blobs[0]).mean(0), atol=1e-5)
    assert result.sizes.tolist() == [400]


def test_k_equal_to_the_number_of_points_leaves_no_error(blobs):
    result = cluster(blobs[0], 400)
    assert result.inertia == pytest.approx(0, abs=1e-6)
    assert (result.sizes == 1).all()


def test_all_points_are_used_to_fit_unless_told():
    # More than faiss' own 256 points per centroid; the optimum of k = 1 is the mean of all of them.
    points = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32) + 2
    mean = normalise(points).mean(0)
    np.testing.assert_allclose(cluster(points, 1).centroids[0], mean, atol=1e-5)
    subset = cluster(points, 1, most=10)
    assert np.abs(subset.centroids[0] - mean).max() > 1e-3
    assert len(subset.ids) == 2000  # all are assigned


def test_more_runs_never_raise_the_inertia():
    points = np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32)
    assert cluster(points, 20, redo=10).inertia <= cluster(points, 20).inertia


def test_seeds_differ():
    points = np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32)
    assert not np.array_equal(cluster(points, 20, seed=0).ids, cluster(points, 20, seed=1).ids)


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "k: expected 1..10000, found 0"),
        (-1, "k: expected 1..10000"),
        (10_001, "k: expected 1..10000"),
        (401, "number of images, 400, found 401"),
    ],
)
def test_k_out_of_range(blobs, k, message):
    with pytest.raises(UserError, match=message):
        cluster(blobs[0], k)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (0, "all zero")]
)
def test_bad_rows_are_named(blobs, value, message):
    points = blobs[0].copy()
    points[137] = value
    with pytest.raises(UserError, match=f"image 137 .*{message}"):
        cluster(points, 3)


def test_huge_features_do_not_overflow(blobs):
    np.testing.assert_array_equal(cluster(blobs[0] * np.float32(1e30), 5).ids, cluster(blobs[0], 5).ids)


def test_fewer_directions_than_clusters_is_an_error():
    directions = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    points = np.repeat(directions, 50, axis=0) * 2.0 ** np.arange(200)[:, None].clip(0, 20)
    points = points.astype(np.float32)
    assert len(np.unique(cluster(points, 4, redo=20).ids)) == 4
    with pytest.raises(UserError, match="only 4 of the 200 features differ in direction, found k = 5; set k to 4"):
        cluster(points, 5)


# Not faiss, which adds up in the order of its threads.
@pytest.mark.parametrize("way", [torch.float32, torch.bfloat16], indirect=True)
def test_memory_mapped_features_and_any_number_of_threads_give_the_same_bytes(way, tmp_path):
    points = np.random.default_rng(2).normal(size=(3000, 24)).astype(np.float32)
    np.save(tmp_path / "points.npy", points)
    found = cluster(points, 30)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            again = cluster(np.load(tmp_path / "points.npy", mmap_mode="r"), 30)
            assert torch.get_num_threads() == count
            assert again.centroids.tobytes() == found.centroids.tobytes()
            assert again.ids.tobytes() == found.ids.tobytes()
            assert again.inertia == found.inertia
    finally:
        torch.set_num_threads(threads)


def test_many_clusters_are_ours_and_few_are_those_of_faiss(way, monkeypatch):
    used = []

    def recorded(name, real):
        return lambda *arguments: used.append(name) or real(*arguments)

    for name in ("faiss_kmeans", "_best_run"):
        monkeypatch.setattr(module, name, recorded(name, getattr(module, name)))
    points = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    cluster(points, 20)
    cluster(points, 257)
    assert used == ["faiss_kmeans" if way == "faiss" else "_best_run", "_best_run"]


@pytest.mark.parametrize("way", ["faiss"], indirect=True)
@pytest.mark.parametrize("order", ["import torch, faiss", "import faiss, torch"])
def test_faiss_and_torch_share_a_process(order, way):
    code = f"""
{order}
import numpy as np
from selfguide.clusters.kmeans import kmeans
(torch.randn(200, 200) @ torch.randn(200, 200)).sum()
x = np.random.default_rng(0).normal(size=(3000, 32)).astype(np.float32)
kmeans(x, 300, 0, num_iterations=5, num_redo=1, max_points_per_centroid=None)
r = kmeans(x, 30, 0, num_iterations=5, num_redo=1, max_points_per_centroid=None)
(torch.randn(200, 200) @ torch.randn(200, 200)).sum()
print(r.sizes.sum())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS, check=True)
    assert done.stdout.strip() == "3000"


@pytest.mark.parametrize("way", [torch.bfloat16], indirect=True)
def test_a_gpu_rounds_products_once_and_the_callers_setting_comes_back(way, monkeypatch):
    matmul, seen = torch.backends.cuda.matmul, []
    before = matmul.allow_bf16_reduced_precision_reduction
    real = module._best_run
    monkeypatch.setattr(
        module, "_best_run", lambda *given: seen.append(matmul.allow_bf16_reduced_precision_reduction) or real(*given)
    )
    cluster(np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32), 3)
    assert (seen, matmul.allow_bf16_reduced_precision_reduction) == ([False], before)
