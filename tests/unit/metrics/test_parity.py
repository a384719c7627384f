"""Parity with the field's own implementations; those that are not installed are skipped."""

import warnings

import numpy as np
import pytest

from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.manifold import manifold_scores


def features(seed: int, num: int, width: int) -> np.ndarray:
    """Like pooled ReLU features: correlated, many zeros, float32."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(width, width)) / np.sqrt(width)
    return np.maximum(random.normal(0.1 * (seed % 2), 1, (num, width)) @ mixing, 0).astype(np.float32)


@pytest.mark.parametrize(("num", "width", "tolerance"), [(600, 64, 1e-6), (120, 200, 1e-5)])
def test_frechet_equals_clean_fid(num, width, tolerance):
    cleanfid = pytest.importorskip("cleanfid.fid", reason="clean-fid is not installed", exc_type=ImportError)
    a, b = features(0, num, width), features(1, num, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cleanfid.fid_from_feats(a, b)
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=tolerance)


def test_exact_kernel_distance_equals_clean_fid_on_one_whole_subset():
    cleanfid = pytest.importorskip("cleanfid.fid", reason="clean-fid is not installed", exc_type=ImportError)
    a, b = features(0, 80, 16).astype(float), features(1, 80, 16).astype(float)
    theirs = cleanfid.kernel_distance(a, b, num_subsets=1, max_subset_size=80)
    assert kernel_distance(a, b, subsets=None) == pytest.approx(theirs, rel=1e-9)


def test_inception_score_equals_torch_fidelity():
    theirs = pytest.importorskip("torch_fidelity.metric_isc", reason="torch-fidelity is not installed")
    torch = pytest.importorskip("torch")
    logits = 3 * features(0, 503, 10)
    found = theirs.isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=True, rng_seed=2020)
    expected = (found["inception_score_mean"], found["inception_score_std"])
    assert inception_score(logits) == pytest.approx(expected, rel=1e-6)


def test_frechet_equals_torch_fidelity():
    theirs = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    torch = pytest.importorskip("torch")
    a, b = features(0, 600, 64), features(1, 600, 64)
    stats = [theirs.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    found = theirs.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(found, rel=1e-6)


def test_precision_and_recall_equal_torch_fidelity():
    theirs = pytest.importorskip("torch_fidelity.metric_prc", reason="torch-fidelity is not installed")
    torch = pytest.importorskip("torch")
    real, fake = features(0, 200, 8), features(1, 150, 8)
    found = theirs.prc_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), prc_neighborhood=3, prc_batch_size=64, save_cpu_ram=True,
        verbose=False,
    )  # fmt: skip
    ours = manifold_scores(real, fake, 3)
    assert (ours["precision"], ours["recall"]) == pytest.approx((found["precision"], found["recall"]))


def test_density_and_coverage_equal_prdc():
    theirs = pytest.importorskip("prdc", reason="prdc is not installed")
    real, fake = features(0, 200, 8), features(1, 150, 8)
    found = theirs.compute_prdc(real, fake, nearest_k=5)
    ours = manifold_scores(real, fake, 5)
    assert (ours["density"], ours["coverage"]) == pytest.approx((found["density"], found["coverage"]))
