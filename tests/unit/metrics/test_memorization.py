import numpy as np
import pytest
from scipy.stats import fisher_exact, mannwhitneyu

from selfguide.core.errors import UserError
from selfguide.metrics.memorization import copying_warning, heldout_scores, memorization_scores
from selfguide.metrics.nearest import nearest_neighbours


def distances(seed: int, num: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(20, 0.5, num).astype(np.float32)


def test_the_scores_are_what_they_say():
    samples, heldout = np.array([0.0, 2.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert memorization_scores(samples, heldout) == {
        "nn_distance": 2,
        "copying_auc": pytest.approx((5 + 2 * 3.5 + 0) / 20),
        "copied": 0.25,
        "copying_flagged": 0,
    }
    assert heldout_scores(heldout) == {"nn_distance": 3, "copied": 0.2}


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_copying_auc_is_the_mann_whitney_statistic_also_with_ties(decimals):
    samples, heldout = distances(0, 300).round(decimals), distances(1, 200).round(decimals) + 1
    expected = mannwhitneyu(heldout, samples).statistic / (300 * 200)
    assert memorization_scores(samples, heldout)["copying_auc"] == pytest.approx(expected, abs=1e-12)


def test_one_in_a_hundred_of_unseen_images_is_within_the_threshold():
    found = [memorization_scores(distances(2 * seed, 1000), distances(2 * seed + 1, 500)) for seed in range(200)]
    assert {heldout_scores(distances(seed, 500))["copied"] for seed in range(20)} == {0.01}
    copied = [scores["copied"] for scores in found]
    assert np.mean(copied) == pytest.approx(0.01, abs=0.0015)
    assert np.std(copied) == pytest.approx(np.sqrt(0.0099 / 1000 + 0.0099 / 500), rel=0.2)


@pytest.mark.parametrize(("num_samples", "num_heldout"), [(1000, 1000), (1000, 500), (10_000, 500), (400, 2000)])
def test_five_percent_of_verbatim_copies_are_warned_of_and_unseen_images_are_not(num_samples, num_heldout):
    for seed in range(20):
        heldout, samples = distances(3 * seed, num_heldout), distances(3 * seed + 1, num_samples)
        assert copying_warning(samples, heldout) is None
        samples[: num_samples // 20] = 0
        assert "copies" in copying_warning(samples, heldout)
        assert memorization_scores(samples, heldout)["copying_flagged"] == 1


def test_few_images_raise_no_false_alarm():
    alarms = [
        copying_warning(distances(2 * seed, num_samples), distances(2 * seed + 1, num_heldout))
        for seed in range(300)
        for num_samples, num_heldout in ((5, 5), (5000, 40), (40, 5000))
    ]
    assert alarms == [None] * len(alarms)


def test_a_slight_lack_of_variety_is_no_copying_however_many_images():
    heldout, samples = distances(0, 50_000), distances(1, 50_000) * 0.95
    within = round(memorization_scores(samples, heldout)["copied"] * 50_000)
    assert fisher_exact([[within, 50_000 - within], [500, 49_500]], alternative="greater").pvalue < 1e-6
    assert within < 1000
    assert copying_warning(samples, heldout) is None


def test_copies_are_seen_where_heldout_images_repeat_training_images():
    heldout, samples = distances(0, 1000), distances(1, 1000)
    heldout[:30] = 0
    samples[:30] = 0
    assert heldout_scores(heldout)["copied"] == 0.03
    assert copying_warning(samples, heldout) is None
    samples[:200] = 0
    assert memorization_scores(samples, heldout)["copied"] == 0.2
    assert copying_warning(samples, heldout) is not None


def test_copies_among_real_features_are_found_and_a_blur_of_unseen_ones_is_not():
    random = np.random.default_rng(0)

    def features(num: int) -> np.ndarray:
        return np.maximum(random.normal(size=(num, 16)) @ mixing, 0).astype(np.float32)

    mixing = random.normal(size=(16, 64)) / 4
    train, heldout, fresh = features(1000), features(800), features(800)

    def nearest(images: np.ndarray) -> np.ndarray:
        return nearest_neighbours(images, train)[0][:, 0]

    def near_mean(images: np.ndarray, share: float) -> np.ndarray:
        return images + share * (images.mean(axis=0) - images)

    real = nearest(heldout)
    assert copying_warning(nearest(fresh), real) is None
    assert copying_warning(nearest(np.vstack([fresh[:760], train[:40]])), real) is not None
    assert memorization_scores(nearest(near_mean(fresh, 0.3)), real)["copying_auc"] > 0.7


@pytest.mark.parametrize(
    "bad",
    [np.zeros(0), np.array([1, np.nan]), np.array([-1.0]), np.ones((3, 2))],
    ids=["none", "nan", "negative", "2d"],
)
@pytest.mark.parametrize("score", [memorization_scores, copying_warning])
def test_what_is_no_distance_is_refused(bad, score):
    with pytest.raises(UserError, match="of samples: expected one number >= 0"):
        score(bad, np.ones(3))
    with pytest.raises(UserError, match="of held-out images: expected one number >= 0"):
        score(np.ones(3), bad)
