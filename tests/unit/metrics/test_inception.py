"""The inception network with a small TorchScript stand-in of the real file's structure."""

import urllib.error

import numpy as np
import pytest
import torch
from torch import nn

from selfguide.core.errors import UserError
from selfguide.metrics.networks import inception
from selfguide.metrics.networks.inception import Inception, clean_resize


class StandIn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(13, 13), nn.Conv2d(3, 2048, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.output = nn.Linear(2048, 1008)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.layers(x))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    torch.manual_seed(0)
    torch.jit.script(StandIn().eval()).save(str(tmp_path / inception.FILE))
    monkeypatch.setenv("SELFGUIDE_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 64), (299, 299), (400, 512), (512, 512)])
def test_resize_equals_clean_fids(height, width):
    resize = pytest.importorskip("cleanfid.resize", reason="clean-fid is not installed", exc_type=ImportError)
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    theirs = np.stack([resize.build_resizer("clean")(image) for image in images]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(clean_resize(torch.from_numpy(images)), theirs)


@torch.no_grad()
def test_features_equal_clean_fids_and_logits_have_no_bias(weights, monkeypatch):
    cleanfid = pytest.importorskip(
        "cleanfid.inception_torchscript", reason="clean-fid is not installed", exc_type=ImportError
    )
    monkeypatch.setattr(
        inception, "SHA256", inception.hashlib.sha256((weights / inception.FILE).read_bytes()).hexdigest()
    )
    network = Inception()
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    features, logits = network(images)
    theirs = cleanfid.InceptionV3W(str(weights), download=False)(clean_resize(images))
    assert torch.equal(features, theirs)
    assert features.shape == (3, Inception.width)
    torch.testing.assert_close(logits, network.script.output(features) - network.script.output.bias)
    assert not any(module.training for module in network.modules())


def test_another_file_is_not_called_fid(weights):
    with pytest.raises(UserError, match="expected sha256 f58cb9b6"):
        Inception()


def test_missing_weights_say_which_file_from_where_to_put_where(tmp_path, monkeypatch):
    def offline(*arguments, **settings):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("SELFGUIDE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(inception.tempfile, "gettempdir", lambda: str(tmp_path / "nowhere"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(UserError) as error:
        Inception()
    for part in (inception.FILE, inception.URL, "SELFGUIDE_WEIGHTS", str(tmp_path / "torch" / "hub" / "checkpoints")):
        assert part in str(error.value)


def test_a_weights_folder_that_does_not_exist_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFGUIDE_WEIGHTS", str(tmp_path / "absent"))
    with pytest.raises(UserError, match="SELFGUIDE_WEIGHTS"):
        Inception()
