import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from selfguide.metrics.extract import extract
from selfguide.metrics.feature_set import FeatureSet
from tests.conftest import HANGS
from tests.unit.metrics.stub import Stub, images

ROOT = Path(__file__).parents[3]
TWO_RANKS = """
import numpy as np
from selfguide.metrics.extract import extract
from tests.unit.metrics.stub import Stub, images

for name, num in (("first", 11), ("second", 7)):
    found = extract(Stub(), images(num), 2, {})
    if found is not None:
        found.save(name)
"""


def by_hand(pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return Stub()(torch.from_numpy(pixels))


def test_every_image_gets_its_own_row(stub):
    pixels = images(11)
    found = extract(Stub(), pixels, 4, {})
    for ours, theirs in zip((found.features, found.logits), by_hand(pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert (found.network, found.weights, found.image_size) == ("stub", "none", (4, 4))
    root = found.moments.root
    np.testing.assert_allclose(root @ root.T, np.cov(found.features.T.astype(float)), rtol=1e-9)


def test_the_network_ends_unchanged_in_eval_mode_and_the_settings_of_torch_too(stub, monkeypatch):
    built = []
    monkeypatch.setattr(stub, "__new__", lambda cls: built.append(torch.nn.Module.__new__(cls)) or built[-1])
    before = {name: value.clone() for name, value in Stub().state_dict().items()}
    torch.set_float32_matmul_precision("high")
    try:
        extract(Stub(), images(11), 4, {})
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert not any(module.training for module in built[-1].modules())
    for name, value in built[-1].state_dict().items():
        assert torch.equal(value, before[name])


def test_a_killed_pass_goes_on_where_it_was(stub, monkeypatch):
    seen = []

    def stop_at_third(self, batch):
        seen.append(len(batch))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return forward(self, batch)

    forward = Stub.forward
    monkeypatch.setattr(Stub, "forward", stop_at_third)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        extract(Stub(), images(11), 2, {})
    found = extract(Stub(), images(11), 2, {})
    assert len(seen) == 3 + 4
    np.testing.assert_allclose(found.features, by_hand(images(11))[0], rtol=1e-6)


def test_a_feature_set_is_the_same_after_save_and_load(stub, tmp_path):
    found = extract(Stub(), images(5), 2, {})
    found.save(tmp_path / "set")
    loaded = FeatureSet.load(tmp_path / "set", "reference")
    for name in ("features", "logits"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(found, name))
    np.testing.assert_array_equal(loaded.moments.mean, found.moments.mean)
    np.testing.assert_array_equal(loaded.moments.root, found.moments.root)
    for name in ("network", "key", "weights", "preprocessing", "image_size", "images"):
        assert getattr(loaded, name) == getattr(found, name)


def test_a_network_without_a_classifier_has_no_logits(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(Stub, "num_classes", 0)
    found = extract(Stub(), images(5), 2, {})
    assert found.logits.shape == (5, 0)
    found.save(tmp_path / "set")
    assert FeatureSet.load(tmp_path / "set", "reference").logits.shape == (5, 0)


def test_a_part_of_a_set_has_its_own_moments(stub):
    found = extract(Stub(), images(9), 4, {})
    part = found.take(np.array([1, 4, 6]))
    np.testing.assert_array_equal(part.logits, found.logits[[1, 4, 6]])
    np.testing.assert_allclose(part.moments.mean, found.features[[1, 4, 6]].mean(axis=0), rtol=1e-6)
    assert part.moments.num == len(part) == 3


def test_two_ranks_give_the_same_features_as_one(stub, tmp_path):
    script = tmp_path / "two_ranks.py"
    script.write_text(TWO_RANKS)
    environment = {**os.environ, "SELFGUIDE_DEVICES": "2", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, check=True, timeout=HANGS)
    for name, num in (("first", 11), ("second", 7)):
        theirs = FeatureSet.load(tmp_path / name, "reference")
        ours = extract(Stub(), images(num), 2, {})
        np.testing.assert_array_equal(theirs.features, ours.features)
        np.testing.assert_array_equal(theirs.logits, ours.logits)
        assert theirs.images == ours.images
