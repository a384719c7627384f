import numpy as np
import pytest
import torch

import selfguide
from selfguide.samples import generate
from selfguide.samples.compilation import compile_steps
from selfguide.samples.conditions import Conditions
from selfguide.samples.config import SamplesConfig


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


def test_one_graph_of_the_whole_network_draws_the_same_images(denoiser, compiled_graphs, caplog):
    plain, model = selfguide.load(denoiser.folder), selfguide.load(denoiser.folder)
    with caplog.at_level("INFO"):
        compile_steps(model.network)
    assert "compiling the network" in caplog.text
    settings = {"ids": [0, 1, 2], "num_steps": 4, "sampler": "unipc"}  # which keeps earlier estimates
    found = model.sample(**settings)
    assert np.abs(found.astype(int) - plain.sample(**settings).astype(int)).max() <= 1
    assert len(compiled_graphs) == 1, "no graph breaks, and no step compiles again"


@torch.no_grad()
def test_a_result_outlives_the_next_call(denoiser, compiled_graphs):
    network = denoiser.build("ema")
    compile_steps(network)
    zeros = torch.zeros(2, dtype=torch.int64)
    first = network(torch.zeros(2, 3, 16, 16), zeros, zeros)
    kept = first.clone()
    assert not torch.equal(network(torch.ones(2, 3, 16, 16), zeros, zeros), kept)
    assert torch.equal(first, kept)


def test_the_setting_compiles_each_network(pair, scratch_root, monkeypatch):
    compiled = []
    monkeypatch.setattr(generate, "compile_steps", compiled.append)
    config = SamplesConfig(
        sampler="ddim", num_steps=2, eta=0.0, guidance_interval=None, guiding="weak_model", num_images=2,
        num_seeds=1, batch_size=2, weights="ema", clip=True, ids=None, boxes=None, precision="32-true",
        compile=True,
    )  # fmt: skip
    generate.fill_samples(pair, Conditions(np.array([0, 1])), 2.0, 0, config, "samples", weak=pair.weak())
    assert len(compiled) == 2
