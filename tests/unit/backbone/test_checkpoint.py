import argparse
import collections
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from selfguide.backbone import checkpoint
from selfguide.backbone.checkpoint import Foreign, HubFile, UrlFile, fetch, read_checkpoint
from selfguide.backbone.pretrained import PRETRAINED
from selfguide.core.errors import UserError
from tests.conftest import ROOT


def harm(*_):
    pytest.fail("code in a checkpoint was executed")


class Harmful:
    def __reduce__(self):
        return (harm, ("now",))


class System:
    def __reduce__(self):
        return (os.system, ("touch harmed",))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".pth.tar", ".safetensors", ".PTH", ".SafeTensors", ""])
@pytest.mark.parametrize("form", ["safetensors", "torch", "torch before 1.6"])
def test_reads_every_format_whatever_it_is_called(tmp_path, suffix, form):
    path, state = tmp_path / f"w{suffix}", {"a": torch.arange(3.0)}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "torch")
    assert torch.equal(read_checkpoint(path)["a"], state["a"])


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_no_tensor_is_read_without_running_it(tmp_path, zipped):
    """So nobody has to trust a file of a training script that saved its arguments."""
    beside = {
        "args": argparse.Namespace(lr=0.1), "best": np.float64(0.7), "path": Path("/data"), "made_by": Harmful(),
        "class": Harmful, "function": len, "table": np.arange(3), "names": {"a", "b"}, "tags": frozenset("c"),
    }  # fmt: skip
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {"a": torch.arange(3.0)}, **beside}, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    assert torch.equal(found["state_dict"]["a"], torch.arange(3.0))
    assert isinstance(found["args"], Foreign)
    assert found["args"].state == {"lr": 0.1}
    assert found.keys() == {"state_dict", *beside}


@pytest.mark.parametrize("zipped", [True, False])
def test_code_of_the_operating_system_is_refused_and_no_way_around_it_shown(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1), "b": System()}, "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"w.pth asks for code of the operating system.*posix.system") as refused:
        read_checkpoint("w.pth")
    assert "python -c" not in str(refused.value)
    assert not Path("harmed").exists()


#: A dictionary with a default is none of torch's plain values, and is filled as a pickle is read.
NESTED = {
    "teacher": {"backbone.a": torch.arange(3.0), "head.b": torch.ones(2)},
    "student": collections.OrderedDict({"module.backbone.a": torch.nn.Parameter(torch.zeros(3))}),
    "whole": torch.nn.Linear(2, 2), "counts": collections.defaultdict(list, a=[1]),
    "args": argparse.Namespace(lr=0.1), "epoch": 3, 7: {"a": torch.ones(1)},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.parametrize("form", [{"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}, "script"])
def test_the_command_in_the_message_works_as_it_stands(tmp_path, form):
    """Pasted into bash; the name has what quoting goes wrong with. What it writes is read."""
    folder = tmp_path / 'my "own" $HOME `files`'
    folder.mkdir()
    path = folder / "it's a file!.pth.tar"
    if form == "script":
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    else:
        torch.save(NESTED, path, **form)
    with pytest.raises(UserError, match="without running code that it names") as refused:
        read_checkpoint(path)
    command = str(refused.value).splitlines()[-1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, check=True)
    found = read_checkpoint(tmp_path / "it's a file!.pth.tensors.pth")
    if form == "script":
        assert found.keys() == {"weight", "bias"}
        return
    assert found.keys() == {"teacher", "student", "whole", "counts", 7}
    assert found["whole"].keys() == {"weight", "bias"}
    assert torch.equal(found["teacher"]["backbone.a"], torch.arange(3.0))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; fetch it again"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page, not the file; fetch it again"),
        (b"\xef\xbb\xbf\n <HTML>", "is a web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "is a Git LFS pointer.*git lfs pull"),
        (b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', "is a JSON text; of a checkpoint in several"),
        (b"\x1f\x8b\x08\x00rest", "is compressed; unpack it"),
        (b"BZh91AY", "is compressed"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "is a numpy array"),
        (b"file" + bytes(253) + b"ustar  \x00", "is a tar archive of other files"),
        (b"\x08\x07\x12\x07pytorch", "is neither a PyTorch nor a safetensors file: it begins with b'.x08.x07"),
        (b"not found", "is neither a PyTorch nor a safetensors file: it begins with b'not found'"),
        (b"PK\x03\x04\x00", "is not a whole checkpoint"),
        (b"\x80\x02", "is not a whole checkpoint"),
        (pickle.dumps({"a": [1.0, 2.0]}), "is damaged, or cannot be read"),
        (pickle.dumps({"a": [1.0, 2.0]}, 2), "is not a whole checkpoint"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.SAFETENSORS"])
def test_what_was_saved_under_its_name_is_told(tmp_path, content, told, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"^backbone.checkpoint: {tmp_path / name} {told}"):
        read_checkpoint(tmp_path / name)


def test_a_folder_a_pipe_an_archive_and_an_unknown_home_are_told(tmp_path):
    for name in ("b.PTH", "a.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"is a folder; give the file of weights in it: a.safetensors, b.PTH$"):
        read_checkpoint(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(UserError, match="pipe.pth is no regular file"):
        read_checkpoint(tmp_path / "pipe.pth")
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("weights/real.pth", "")
    with pytest.raises(UserError, match="is a zip archive of other files; unpack it. It holds weights/real.pth"):
        read_checkpoint(tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"~nobody-here/w.pth is missing"):
        read_checkpoint("~nobody-here/w.pth")
    with pytest.raises(UserError, match="cannot be read .File name too long"):
        read_checkpoint("a" * 300 + ".pth")
    with pytest.raises(UserError, match="is a folder"):
        read_checkpoint("")


@pytest.mark.parametrize("form", ["safetensors", "torch", "torch before 1.6"])
def test_a_file_cut_anywhere_is_an_error_that_names_it(tmp_path, form):
    path = tmp_path / "w.pth"
    test_reads_every_format_whatever_it_is_called(tmp_path, ".pth", form)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=f"^backbone.checkpoint: {path} is "):
            read_checkpoint(path)


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
