import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfguide.clusters import kmeans as kmeans_module
from selfguide.clusters.kmeans import kmeans
from selfguide.clusters.metrics import agreement


@pytest.fixture(params=[0, 256], ids=["ours", "faiss"], autouse=True)
def faiss_k(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kmeans_module, "FAISS_K", request.param)
        yield


def run(features, k, seed):
    return kmeans(features, k, seed, num_iterations=5, num_redo=2, max_points_per_centroid=None)


@st.composite
def cases(draw):
    n = draw(st.integers(1, 80))
    features = np.random.default_rng(draw(st.integers(0, 1000))).normal(size=(n, draw(st.integers(2, 9))))
    return features.astype(np.float32), draw(st.integers(1, n)), draw(st.integers(0, 2**31 - 1))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases())
def test_every_image_gets_one_of_k_clusters_and_sizes_add_up(case):
    features, k, seed = case
    result = run(features, k, seed)
    assert result.ids.shape == (len(features),)
    assert result.ids.min() >= 0
    assert result.ids.max() < k
    np.testing.assert_array_equal(result.sizes, np.bincount(result.ids, minlength=k))
    assert 0 <= result.inertia <= 4 * len(features)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases())
def test_the_same_seed_gives_the_same_bytes(case):
    first, second = run(*case), run(*case)
    assert first.ids.tobytes() == second.ids.tobytes()
    assert first.centroids.tobytes() == second.centroids.tobytes()
    assert first.inertia == second.inertia


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(), st.integers(0, 1000))
def test_the_length_of_a_feature_does_not_matter(case, stretch_seed):
    features, k, seed = case
    # Powers of two change no digit.
    stretch = 2.0 ** np.random.default_rng(stretch_seed).integers(-8, 8, (len(features), 1))
    stretched = run((features * stretch).astype(np.float32), k, seed)
    np.testing.assert_array_equal(stretched.ids, run(features, k, seed).ids)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 3)), min_size=2, max_size=60), st.permutations(range(6)))
def test_agreement_does_not_depend_on_names(pairs, names):
    ids, labels = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    labels[0] = 0
    found = agreement(ids, labels)
    assert found["nmi"] <= 1 + 1e-9
    assert 0 < found["purity"] <= 1
    renamed = agreement(np.array(names, np.int32)[ids], labels)
    for name, value in found.items():
        np.testing.assert_allclose(renamed[name], value, atol=1e-9)
