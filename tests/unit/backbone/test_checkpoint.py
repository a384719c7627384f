import socket

import pytest
import torch
from safetensors.torch import save_file

from selfguide.backbone import checkpoint
from selfguide.backbone.checkpoint import HubFile, UrlFile, fetch, read_checkpoint
from selfguide.backbone.pretrained import PRETRAINED
from selfguide.core.errors import UserError


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint was executed",))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".pth.tar", ".safetensors"])
def test_reads_every_format(tmp_path, suffix):
    path, state = tmp_path / f"w{suffix}", {"a": torch.arange(3.0)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert torch.equal(read_checkpoint(path)["a"], state["a"])


def test_code_is_refused_and_the_way_out_shown(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": Harmful()}, tmp_path / "w.ckpt")
    with pytest.raises(UserError, match="holds Python objects.*torch.save"):
        read_checkpoint(tmp_path / "w.ckpt")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_damaged_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(UserError, match=f"{name}.*(damaged|not a whole)"):
        read_checkpoint(tmp_path / name)


def test_unknown_type_missing_file_and_wrong_content(tmp_path):
    (tmp_path / "w.h5").touch()
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(UserError, match=r"unknown type '.h5'; valid: .safetensors, .pth"):
        read_checkpoint(tmp_path / "w.h5")
    with pytest.raises(UserError, match=r"none.pth is missing"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(UserError, match="holds a Tensor, expected a state dict"):
        read_checkpoint(tmp_path / "tensor.pt")


@pytest.mark.parametrize("name", [n for n, v in PRETRAINED.items() if v.source])
def test_offline_the_error_says_which_file_to_put_where(tmp_path, monkeypatch, name):
    attempts = []

    def no_network(address, timeout):
        attempts.append(address)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(checkpoint.socket, "create_connection", no_network)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    source = PRETRAINED[name].source
    with pytest.raises(UserError) as caught:
        fetch(source, name)
    message = str(caught.value)
    assert source.address in message
    assert "set backbone.checkpoint to its path" in message
    assert "Name or service not known" in message
    assert len(attempts) == 1  # one question, no storm of retries


def test_offline_mode_asks_nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(checkpoint.socket, "create_connection", lambda *a, **k: pytest.fail("asked"))
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch(UrlFile("https://example.org/w.pth", "mit"), "msn_vitb16")


def test_cached_files_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.socket, "create_connection", lambda *a, **k: pytest.fail("asked"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/w.pth").touch()
    assert fetch(UrlFile("https://example.org/a/w.pth", "mit"), "x") == tmp_path / "checkpoints/w.pth"

    snapshot = tmp_path / "models--timm--tiny/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (tmp_path / "models--timm--tiny/refs").mkdir()
    (tmp_path / "models--timm--tiny/refs/main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert fetch(HubFile("timm/tiny", "mit"), "x") == snapshot / "model.safetensors"
