import pytest
import torch

from selfguide.core.errors import UserError
from selfguide.denoiser.concat import GuidanceEmbedding
from selfguide.denoiser.registry import DENOISERS, build

TINY = {
    "variant": "concat", "image_size": 16, "num_ids": 5, "patch_size": 1, "base_channels": 8,
    "channel_multipliers": [1, 2], "num_blocks": 1, "attention_resolutions": [8], "num_heads": 4, "dropout": 0.0,
    "time_width": 16, "guidance_width": 8,
}  # fmt: skip
PAPER = {
    **TINY, "image_size": 32, "base_channels": 128, "channel_multipliers": [1, 2, 4], "num_blocks": 2, "num_heads": 8,
    "time_width": 512, "guidance_width": 256,
}  # fmt: skip


@pytest.mark.parametrize(("num_ids", "millions"), [(400, 74.10), (1000, 74.25), (5000, 75.28), (10_000, 76.57)])
def test_parameter_count_of_the_paper(num_ids, millions):
    # The official network's counts at 32 px, base 128, two blocks, multipliers 1, 2, 4.
    with torch.device("meta"):
        network = build({**PAPER, "num_ids": num_ids})
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.015)


@pytest.mark.parametrize("variant", sorted(DENOISERS))
@pytest.mark.parametrize("patch_size", [1, 2])
def test_contract_of_every_variant(variant, patch_size):
    network = build({**TINY, "variant": variant, "patch_size": patch_size}).eval()
    x, t, c = torch.randn(3, 3, 16, 16), torch.tensor([0, 5, 999]), torch.tensor([-1, 0, 4])
    assert torch.equal(network(x, t, c), torch.zeros_like(x)), "the output must start as 0"
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    out = network(x, t, c)
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    assert not torch.allclose(out, network(x, t, torch.tensor([-1, 1, 4])))
    assert not torch.allclose(out, network(x, t + torch.tensor([0, 1, -1]), c))
    # No image may see another of its batch.
    assert torch.allclose(network(x[1:2], t[1:2], c[1:2]), out[1:2], atol=1e-4)


def test_guidance_row_look_up_is_a_linear_layer_on_one_hot_vectors():
    embedding = GuidanceEmbedding(4, 8)
    ids = torch.tensor([2, -1, 0])
    one_hot = torch.stack([torch.eye(4)[2], torch.zeros(4), torch.eye(4)[0]])
    hidden = torch.nn.functional.linear(one_hot, embedding.rows.T, embedding.bias)
    assert torch.allclose(embedding(ids), embedding.out(torch.nn.functional.silu(hidden)), atol=1e-6)


def test_no_guidance_has_the_same_network():
    names = [n for n, _ in build({**TINY, "num_ids": 0}).named_parameters()]
    assert names == [n for n, _ in build(TINY).named_parameters()]


def test_every_parameter_learns():
    network = build(TINY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network(torch.randn(5, 3, 16, 16), torch.arange(5), torch.arange(5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_attention_sits_at_the_named_resolutions_and_in_the_middle():
    network = build({**TINY, "attention_resolutions": []})
    assert [s.attention is not None for s in network.middle] == [True, False]
    assert not any(s.attention is not None for s in [*network.encoder, *network.decoder])
    network = build(TINY)
    assert [s.attention is not None for s in network.encoder] == [False, False, True]


def test_size_that_the_levels_do_not_divide():
    with pytest.raises(UserError, match="images.size: 18 is not a multiple of 4"):
        build({**TINY, "image_size": 18, "patch_size": 2})


def test_misspelt_variant_lists_the_known():
    with pytest.raises(UserError, match="unknown 'concta'; known: concat; did you mean 'concat'"):
        build({**TINY, "variant": "concta"})


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_unrolled_is_forward_at_every_step(variant):
    network = build({**TINY, "variant": variant}).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, steps, c = torch.randn(3, 3, 16, 16), torch.tensor([999, 400, 0]), torch.tensor([-1, 0, 4])
    at = network.unrolled(steps, c)
    for i, t in enumerate(steps):
        torch.testing.assert_close(at(x, i), network(x, t.expand(3), c), rtol=1e-4, atol=1e-4)


def test_the_whole_network_is_one_graph_for_the_compiler():
    network = build({**TINY, "channel_multipliers": [1]})
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, t, c = torch.randn(2, 3, 16, 16), torch.tensor([0, 5]), torch.tensor([-1, 0])
    eager = network(x, t, c)
    grads = torch.autograd.grad(eager.square().mean(), list(network.parameters()))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")(x, t, c)
    torch.testing.assert_close(compiled, eager)
    again = torch.autograd.grad(compiled.square().mean(), list(network.parameters()))
    torch.testing.assert_close(again, grads, rtol=1e-4, atol=1e-6)
