"""The peers of the denoiser benchmark: that they do what the table says."""

import json
import subprocess
import sys
from types import SimpleNamespace

import denoiser as bench
import pytest
import torch

from tests.conftest import HANGS, ROOT

B, SIZE = 2, 16


@pytest.fixture(params=[bench.DIFFUSERS, bench.LUCIDRAINS])
def peer(request):
    pytest.importorskip(request.param.replace("-", "_"))
    args = SimpleNamespace(base=32, size=SIZE, device="cpu", batch=B, compile=False)
    return bench.build(request.param, args)


def test_peers_train_and_sample(peer):
    images, labels = torch.rand(B, 3, SIZE, SIZE) * 2 - 1, torch.tensor([1, 2])
    before = [p.detach().clone() for p in peer.network.parameters()]
    peer.train_step(images, labels)
    assert any(not torch.equal(a, b) for a, b in zip(before, peer.network.parameters(), strict=True))
    x = torch.randn(B, 3, SIZE, SIZE)
    guided, conditional = peer.sample_step(x, 100, labels, 3.0), peer.sample_step(x, 100, labels, 1.0)
    assert guided.shape == x.shape
    assert torch.isfinite(guided).all()
    assert not torch.equal(guided, conditional)
    last = peer.sample_step(x, 249, labels, 1.0)
    assert last.abs().max() <= 1  # the clean image


def test_widths_are_equal_and_a_guided_step_is_two_forwards():
    pytest.importorskip("diffusers")
    args = SimpleNamespace(base=32, size=32, device="cpu", batch=1, compile=False)
    sizes = {}
    for name in (bench.OURS, bench.DIFFUSERS):
        found = bench.gigaflops(contender := bench.build(name, args), 32, "cpu")
        assert found["training"] / found["guided sampling"] == pytest.approx(1.5, rel=0.02)
        sizes[name] = (sum(p.numel() for p in contender.network.parameters()), found["training"])
    assert sizes[bench.OURS] == pytest.approx((4.65e6, 3.73), rel=0.01)
    assert sizes[bench.DIFFUSERS] == pytest.approx((4.31e6, 3.43), rel=0.01)


def test_which_contenders_run():
    args = SimpleNamespace(levers=False, peers=[bench.DIFFUSERS], autocast=True, compile=True, other=None)
    assert bench.names("training", args) == ["selfguide", "diffusers", "diffusers; bf16", "diffusers; bf16 compiled"]
    args.other = "elsewhere"
    assert bench.names("training", args)[:2] == ["selfguide", "of another checkout"]
    args.levers = True
    assert bench.names("guided sampling", args)[-1] == "selfguide; with two forwards"
    assert "selfguide; with loop EMA" not in bench.names("guided sampling", args)


@pytest.mark.slow
def test_the_whole_command(tmp_path):
    out = tmp_path / "r.md"
    command = [sys.executable, "benchmarks/denoiser.py", "--base", "32", "--size", "16", "--train-batch", "2"]
    command += ["--sample-batch", "2", "--rounds", "1", "--warm-up", "1", "--threads", "1", "--out", str(out)]
    done = subprocess.run([*command, "--peers", "diffusers"], cwd=ROOT, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert text.count("| selfguide |") == text.count("| diffusers |") == 2
    assert json.dumps("Images per second, against the best peer as shipped, diffusers")[1:-1] in text
