"""Parity with the field's own implementations; those that are not installed are skipped."""

import warnings

import numpy as np
import pytest
import torch

from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.manifold import manifold_scores


def features(seed: int, num: int, width: int) -> np.ndarray:
    """Like pooled ReLU features: correlated, many zeros, float32."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(width, width)) / np.sqrt(width)
    return np.maximum(random.normal(0.1 * (seed % 2), 1, (num, width)) @ mixing, 0).astype(np.float32)


def tied_features(seed: int, num: int) -> np.ndarray:
    """Small whole numbers, a quarter of the rows twice: many equal distances, every one exact in float32."""
    random = np.random.default_rng(seed)
    rows = random.integers(seed % 2, 4, (num, 3)).astype(np.float32)
    rows[: num // 4] = rows[num // 2 : num // 2 + num // 4]
    return rows


def library(name: str, package: str):
    return pytest.importorskip(name, reason=f"{package} is not installed", exc_type=ImportError)


@pytest.mark.parametrize(("num", "width", "tolerance"), [(600, 64, 1e-6), (120, 200, 1e-5)])
def test_frechet_equals_clean_fid(num, width, tolerance):
    cleanfid = library("cleanfid.fid", "clean-fid")
    a, b = features(0, num, width), features(1, num, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cleanfid.fid_from_feats(a, b)
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize(("num", "width", "tolerance"), [(600, 64, 1e-6), (120, 200, 1e-5)])
def test_frechet_equals_torch_fidelity(num, width, tolerance):
    theirs = library("torch_fidelity.metric_fid", "torch-fidelity")
    a, b = features(0, num, width), features(1, num, width)
    stats = [theirs.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    found = theirs.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(found, rel=tolerance)


def test_inception_score_equals_torch_fidelity():
    theirs = library("torch_fidelity.metric_isc", "torch-fidelity")
    logits = 3 * features(0, 503, 10)
    found = theirs.isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=True, rng_seed=2020)
    expected = (found["inception_score_mean"], found["inception_score_std"])
    assert inception_score(logits) == pytest.approx(expected, rel=1e-6)


def test_exact_kernel_distance_equals_clean_fid_on_one_whole_subset():
    cleanfid = library("cleanfid.fid", "clean-fid")
    a, b = features(0, 80, 16).astype(float), features(1, 80, 16).astype(float)
    theirs = cleanfid.kernel_distance(a, b, num_subsets=1, max_subset_size=80)
    assert kernel_distance(a, b, subsets=None) == pytest.approx(theirs, rel=1e-9)


def test_exact_kernel_distance_equals_a_double_loop():
    a, b = features(0, 23, 5), features(1, 31, 5)

    def kernel(x, y):
        return (sum(float(p) * float(q) for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows):
        pairs = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    expected = within(a) + within(b) - 2 * sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))
    assert kernel_distance(a, b, subsets=None) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kernel_distance_of_subsets_equals_torch_fidelity_draw_for_draw(dtype):
    theirs = library("torch_fidelity.metric_kid", "torch-fidelity")
    a, b = features(0, 150, 16).astype(dtype), features(1, 130, 16).astype(dtype)
    found = theirs.kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=12, kid_subset_size=40, rng_seed=2020, verbose=False
    )["kernel_inception_distance_mean"]
    # Theirs adds up in the type of the features; three subsets more would move the mean by about 1e-1.
    tolerance = 1e-10 if dtype is np.float64 else 1e-4
    assert kernel_distance(a, b, subsets=12, subset_size=40) == pytest.approx(found, rel=tolerance)


def their_precision_and_recall(real: np.ndarray, fake: np.ndarray, k: int, save_cpu_ram: bool) -> tuple[float, float]:
    theirs = library("torch_fidelity.metric_prc", "torch-fidelity")
    found = theirs.prc_features_to_metric(  # the generated images come first
        torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=k, prc_batch_size=64,
        save_cpu_ram=save_cpu_ram, verbose=False,
    )  # fmt: skip
    return found["precision"], found["recall"]


@pytest.mark.parametrize("save_cpu_ram", [False, True])
def test_precision_and_recall_equal_torch_fidelity(save_cpu_ram):
    real, fake = features(0, 200, 8), features(1, 150, 8)
    ours = manifold_scores(real, fake, 3)
    expected = their_precision_and_recall(real, fake, 3, save_cpu_ram)
    assert ours["precision"] != ours["recall"]  # else swapping the two sets would not show
    assert (ours["precision"], ours["recall"]) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_torch_fidelity_where_distances_tie_and_images_repeat(k):
    real, fake = tied_features(0, 60), tied_features(1, 40)
    ours = manifold_scores(real, fake, k)
    assert 0 < ours["precision"] <= 1
    assert 0 < ours["recall"] < 1
    expected = their_precision_and_recall(real, fake, k, save_cpu_ram=False)
    assert (ours["precision"], ours["recall"]) == pytest.approx(expected)


def test_precision_and_recall_of_one_repeated_image_equal_torch_fidelity():
    real = tied_features(0, 60)
    fake = np.repeat(real[:1], 40, axis=0)
    ours = manifold_scores(real, fake, 3)
    assert ours["precision"] == 1.0
    assert 0 < ours["recall"] < 0.1
    expected = their_precision_and_recall(real, fake, 3, save_cpu_ram=False)
    assert (ours["precision"], ours["recall"]) == pytest.approx(expected)


@pytest.mark.parametrize(("real", "fake"), [
    (features(0, 200, 8), features(1, 150, 8)),
    (tied_features(0, 60), tied_features(1, 40)),
])  # fmt: skip
def test_density_and_coverage_equal_prdc(real, fake):
    found = library("prdc", "prdc").compute_prdc(real, fake, nearest_k=5)
    ours = manifold_scores(real, fake, 5)
    assert 0 < ours["coverage"] < 1
    assert (ours["density"], ours["coverage"]) == pytest.approx((found["density"], found["coverage"]))
