import pytest

from selfguide.metrics.networks.registry import NETWORKS
from tests.unit.metrics.stub import Stub


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """Register the stub network, and keep scratch folders out of the repository."""
    monkeypatch.setitem(NETWORKS, "stub", Stub)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("SELFGUIDE_ACCELERATOR", "cpu")
    monkeypatch.setenv("SELFGUIDE_PROGRESS", "0")
    monkeypatch.chdir(tmp_path)
    return Stub
