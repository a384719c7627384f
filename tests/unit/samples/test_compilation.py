import numpy as np
import pytest
import torch

import selfguide
from selfguide.core.hardware import compile_mode
from selfguide.denoiser.concat import ConcatUNet
from selfguide.samples import generate
from selfguide.signal.condition import BatchCondition
from tests.conftest import signal
from tests.unit.samples.test_generate import _config


@pytest.fixture
def compiled_graphs(monkeypatch) -> list[torch.fx.GraphModule]:
    """torch.compile without code generation, whose results lie in the same memory as with CUDA graphs; its graphs."""
    graphs, compile_, settings = [], torch.compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        memory = graph(*inputs)

        def replay(*inputs):
            for old, new in zip(memory, graph(*inputs), strict=True):
                old.copy_(new)
            return memory

        return replay

    def compiling(function, **options):
        settings.append(options)
        return compile_(function, backend=backend, dynamic=options["dynamic"])

    monkeypatch.setattr(torch, "compile", compiling)
    torch._dynamo.reset()
    yield graphs
    torch._dynamo.reset()
    mode = "reduce-overhead" if torch.cuda.is_available() else None
    assert all(options == {"mode": mode, "dynamic": False} for options in settings)


def test_one_graph_of_the_whole_network_draws_the_same_images(denoiser, compiled_graphs):
    plain, model = selfguide.load(denoiser.folder), selfguide.load(denoiser.folder)
    model.network.compile_unrolled(compile_mode(torch.device("cuda" if torch.cuda.is_available() else "cpu")))
    settings = {"ids": [0, 1, 2], "num_steps": 4, "sampler": "unipc"}  # which keeps earlier estimates
    found = model.sample(**settings)
    assert np.abs(found.astype(int) - plain.sample(**settings).astype(int)).max() <= 1
    assert len(compiled_graphs) == 1, "no graph breaks, and no step compiles again"


@torch.no_grad()
def test_a_result_outlives_the_next_call(denoiser, compiled_graphs):
    network = denoiser.build("ema")
    network.compile_unrolled(compile_mode(torch.device("cuda" if torch.cuda.is_available() else "cpu")))
    zeros = torch.zeros(2, dtype=torch.int64)
    c = BatchCondition(zeros)
    first = network(torch.zeros(2, 3, 16, 16), zeros, c)
    kept = first.clone()
    assert not torch.equal(network(torch.ones(2, 3, 16, 16), zeros, c), kept)
    assert torch.equal(first, kept)


def test_the_setting_compiles_each_network(pair, scratch_root, monkeypatch, caplog):
    compiled = []
    monkeypatch.setattr(ConcatUNet, "compile_unrolled", lambda network, mode: compiled.append(network))
    config = _config(guiding="weak_model", num_steps=2, num_images=2, batch_size=2, compile=True)
    with caplog.at_level("INFO"):
        generate.fill_samples(generate.Drawing(pair, 2.0, config, pair.weak()), signal([0, 1]), 0, "samples")
    assert len(compiled) == 2
    assert "compiling the network" in caplog.text
