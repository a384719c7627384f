from typing import get_args

import numpy as np
import pytest
import torch

from selfguide.backbone import efficientnet_lite0 as package
from selfguide.core.errors import UserError
from selfguide.metrics.config import NetworkName
from selfguide.metrics.networks import efficientnet_lite0
from selfguide.metrics.networks.registry import NETWORKS


def test_the_registry_has_the_names_of_the_configuration():
    assert set(NETWORKS) == set(get_args(NetworkName))


@pytest.mark.parametrize("name", get_args(NetworkName))
def test_only_inception_is_called_fid(name):
    assert NETWORKS[name].name == name
    assert NETWORKS[name].key == ("fid" if name == "inception" else f"fd_{name}")


def test_efficientnet_lite0_has_its_widths_for_images_smaller_and_larger_than_its_input():
    network = NETWORKS["efficientnet_lite0"]()
    with torch.no_grad():
        for size in (16, 256):
            images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
            features, logits = network(torch.from_numpy(images))
            assert (features.shape, logits.shape) == ((2, network.width), (2, network.num_classes))
            assert features.isfinite().all()
    assert not network.training


def test_a_damaged_file_of_weights_is_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(package.weights_file().read_bytes()[:-1])
    monkeypatch.setattr(efficientnet_lite0, "weights_file", lambda: damaged)
    with pytest.raises(UserError, match="expected sha256 57934424"):
        NETWORKS["efficientnet_lite0"]()
