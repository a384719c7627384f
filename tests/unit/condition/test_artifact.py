import numpy as np
import pytest

from selfguide.annotations.artifact import Annotation
from selfguide.condition.artifact import Condition
from selfguide.condition.make import make_condition
from selfguide.core.errors import UserError
from tests.conftest import signal


def _annotation() -> Annotation:
    return Annotation("self_labeled", signal(np.arange(10) % 3))


def test_round_trip_and_equal_bytes(tmp_path):
    condition = make_condition(_annotation(), 0.5, seed=1)
    condition.save(tmp_path / "a")
    condition.save(tmp_path / "b")
    loaded = Condition.load(tmp_path / "a")
    assert np.array_equal(loaded.signal.ids, condition.signal.ids)
    assert loaded.corrupted.sum() == 5
    assert (loaded.guidance, loaded.signal.form.num_ids, loaded.corruption) == ("self_labeled", 3, 0.5)
    assert (tmp_path / "a/meta.json").read_bytes() == (tmp_path / "b/meta.json").read_bytes()


@pytest.mark.parametrize("num_boxes", [1, 3])
def test_ids_and_boxes_of_an_image_stay_together(tmp_path, num_boxes):
    numbers = np.arange(50, dtype=np.int32)
    boxes = np.broadcast_to(numbers[:, None, None], (50, num_boxes, 4)).astype(np.int16)
    several = np.stack([numbers, np.full(50, -1, np.int32)], axis=1)
    Annotation("ground_truth_boxed", signal(several, 50, boxes, 50)).save(tmp_path / "a")
    make_condition(Annotation.load(tmp_path / "a"), 0.5, seed=1).save(tmp_path / "c")
    found = Condition.load(tmp_path / "c").signal
    assert found.ids.shape == (50, 2)
    assert found.where.shape == (50, num_boxes, 4)
    assert (found.ids[:, 0] != numbers).any()
    assert (found.where == found.ids[:, :1, None]).all()
    assert make_condition(_annotation(), 0.5, seed=1).signal.where is None


def test_annotation_round_trip_keeps_names(tmp_path):
    Annotation("ground_truth_label", signal([0, 0], 1), ("cat",)).save(tmp_path / "ground_truth_label")
    assert Annotation.load(tmp_path / "ground_truth_label").names == ("cat",)


@pytest.mark.parametrize("backbone", [None, "abc"])
def test_the_backbone_behind_the_ids_is_carried_along(tmp_path, backbone):
    Annotation("self_labeled", signal(np.arange(10) % 3), backbone=backbone).save(tmp_path / "a")
    make_condition(Annotation.load(tmp_path / "a"), 0.5, seed=1).save(tmp_path / "c")
    assert Condition.load(tmp_path / "c").backbone == backbone


def test_missing_names_the_stage(tmp_path):
    with pytest.raises(UserError, match="run `dvc repro condition`"):
        Condition.load(tmp_path / "condition")


def test_damaged_array_names_the_file(tmp_path):
    make_condition(_annotation(), 0.0, seed=1).save(tmp_path / "c")
    whole = (tmp_path / "c/ids.npy").read_bytes()
    (tmp_path / "c/ids.npy").unlink()
    (tmp_path / "c/ids.npy").write_bytes(whole[:-5])
    with pytest.raises(UserError, match=r"ids\.npy: not a whole \.npy file"):
        Condition.load(tmp_path / "c")


def test_another_kind_of_artifact_is_refused(tmp_path):
    _annotation().save(tmp_path / "a")
    with pytest.raises(UserError, match="expected kind 'condition', found 'annotation'"):
        Condition.load(tmp_path / "a")
