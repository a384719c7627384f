import numpy as np
import pytest

from selfguide.clusters.artifact import Clusters
from selfguide.clusters.picture import draw_clusters
from selfguide.core.errors import UserError


def clusters(ids, k=3, **changed):
    ids = np.asarray(ids, np.int32)
    fields = {"centroids": np.eye(k, 4, dtype=np.float32), "sizes": np.bincount(ids, minlength=k), **changed}
    return Clusters(ids=ids, k=k, inertia=0.25, seed=7, **fields)


def test_round_trip(tmp_path):
    saved = clusters([0, 2, 2, 0], backbone="def")
    saved.save(tmp_path / "c", features="abc")
    loaded = Clusters.load(tmp_path / "c")
    for name in ("ids", "centroids", "sizes"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert (loaded.k, loaded.inertia, loaded.seed, loaded.backbone) == (3, 0.25, 7, "def")
    assert len(loaded.digest) == 64


def test_equal_inputs_give_equal_bytes(tmp_path):
    for name in "ab":
        clusters([0, 2, 2, 0]).save(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_inconsistent_sizes_are_refused(tmp_path):
    with pytest.raises(UserError, match="ids and sizes do not fit"):
        clusters([0, 1, 2], sizes=np.array([1, 1, 2])).save(tmp_path / "c")


def test_ids_outside_of_k_are_refused(tmp_path):
    with pytest.raises(UserError, match="do not fit k = 3"):
        clusters([0, 1, 3], sizes=np.array([1, 1, 1])).save(tmp_path / "c")


def test_missing_folder_names_the_stage(tmp_path):
    with pytest.raises(UserError, match="dvc repro clusters"):
        Clusters.load(tmp_path / "none")


def test_picture_has_a_row_for_each_cluster_that_is_not_empty_and_shows_members_only():
    # Images of cluster c are filled with the grey 10 + 50 c.
    ids = np.array([0] * 3 + [2] * 9 + [3] * 5, np.int32)
    pixels = np.broadcast_to((10 + 50 * ids).astype(np.uint8)[:, None, None, None], (17, 4, 4, 3))
    picture = np.asarray(draw_clusters(pixels, clusters(ids, k=4), rows=10, columns=4))
    tiles = [set(np.unique(band)) & {10, 60, 110, 160} for band in np.array_split(picture[:, -40:], 3)]
    assert tiles == [{110}, {160}, set()]  # by size; the last has 3 members, its fourth tile is blank
    assert 10 in picture
