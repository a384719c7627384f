from typing import get_args

import numpy as np
import pytest
import torch

from selfguide.backbone import efficientnet_lite0 as package
from selfguide.core.config import parse
from selfguide.core.errors import UserError
from selfguide.metrics.config import NetworkName
from selfguide.metrics.networks import efficientnet_lite0
from selfguide.metrics.networks.registry import NETWORKS, build_network
from selfguide.reference.config import ReferenceConfig


def test_the_registry_has_the_names_of_the_configuration():
    assert set(NETWORKS) == set(get_args(NetworkName))


@pytest.mark.parametrize("name", get_args(NetworkName))
def test_only_inception_is_called_fid(name):
    assert NETWORKS[name].name == name
    assert NETWORKS[name].key == ("fid" if name == "inception" else f"fd_{name}")


def test_efficientnet_lite0_has_its_widths_for_images_smaller_and_larger_than_its_input():
    network = build_network("efficientnet_lite0")
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
        build_network("efficientnet_lite0")


def test_an_unknown_network_is_named_with_the_valid_ones_and_the_nearest():
    with pytest.raises(UserError, match=r"valid: inception, .*dinov2_vitl14.*did you mean 'efficientnet_lite0'"):
        build_network("efficientnet_lite")


@pytest.mark.parametrize("networks", [["backbone"], ["inception"], ["inception", "backbone"]])
@pytest.mark.parametrize("folder", [None, "models/backbone"])
def test_the_network_backbone_needs_a_folder(networks, folder):
    values = {"networks": networks, "backbone": folder, "num_train": None, "num_heldout": None, "batch_size": 1}
    if "backbone" in networks and folder is None:
        with pytest.raises(UserError, match="networks has backbone, so backbone must be the folder"):
            parse(ReferenceConfig, values, "params.yaml")
    else:
        assert parse(ReferenceConfig, values, "params.yaml").backbone == folder
