"""What every variant of the network promises."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfguide.core.errors import UserError
from selfguide.denoiser.config import read_network
from selfguide.denoiser.network import Network
from selfguide.denoiser.registry import DENOISERS, build
from selfguide.signal.condition import BatchCondition

#: A network's configuration and the sizes of what it works on.
TINY = {
    "variant": "concat", "side": 16, "channels": 3, "num_ids": 5, "map_channels": 0, "patch_size": 1,
    "base_channels": 8, "channel_multipliers": [1, 2], "num_blocks": 1, "attention_resolutions": [8], "num_heads": 4,
    "dropout": 0.0, "time_width": 16, "guidance_width": 8,
}  # fmt: skip
MAPS = [0, 1, 5]


def make(**changes: Any) -> Network:
    """`TINY` with changes of its configuration and sizes."""
    config = {**TINY, **changes}
    sizes = {key: config.pop(key) for key in ("side", "channels", "num_ids", "map_channels")}
    return build(read_network(config, "test"), **sizes)


def awake(**changes: Any) -> Network:
    """With weights that let everything through: a fresh network's output is 0."""
    network = make(**changes).eval()
    loud = ("attention.out", "context", "token")
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, std=0.6 if any(part in name for part in loud) else 0.2)
    return network


def some_map(channels: int, batch: int = 3) -> Tensor | None:
    return torch.rand(batch, channels, 16, 16).round() if channels else None


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("map_channels", MAPS)
@pytest.mark.parametrize("patch_size", [1, 2])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_contract_of_every_variant(variant, patch_size, map_channels, channels):
    torch.manual_seed(0)
    config = {"variant": variant, "patch_size": patch_size, "map_channels": map_channels, "channels": channels}
    x, t = torch.randn(3, channels, 16, 16), torch.tensor([0, 5, 999])
    c = BatchCondition(torch.tensor([-1, 0, 4]), some_map(map_channels))
    assert torch.equal(make(**config)(x, t, c), torch.zeros_like(x)), "the output must start as 0"
    network = awake(**config)
    assert (network.side, network.channels, network.num_ids, network.map_channels) == (16, channels, 5, map_channels)
    out = network(x, t, c)
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    assert not torch.allclose(out, network(x, t, BatchCondition(torch.tensor([-1, 1, 4]), c.map)))
    assert not torch.allclose(out, network(x, t + torch.tensor([0, 1, -1]), c))
    for channel in range(map_channels):
        moved = c.map.clone()
        moved[:, channel] = c.map[:, channel].roll(3, -1)
        assert not torch.allclose(out, network(x, t, BatchCondition(c.ids, moved)), atol=1e-3)
    # No image may see another of its batch.
    one = slice(1, 2)
    assert torch.allclose(network(x[one], t[one], c[one]), out[one], atol=1e-4)


@pytest.mark.parametrize("map_channels", MAPS)
@pytest.mark.parametrize("ids", [torch.tensor([-1, 0, 4]), torch.tensor([[-1, -1], [0, -1], [4, 2]])])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_unrolled_is_forward_at_every_step(variant, map_channels, ids):
    torch.manual_seed(0)
    network = awake(variant=variant, map_channels=map_channels)
    x, steps, c = torch.randn(3, 3, 16, 16), torch.tensor([999, 400, 0]), BatchCondition(ids, some_map(map_channels))
    at = network.unrolled(steps, c)
    for i, t in enumerate(steps):
        torch.testing.assert_close(at(x, i), network(x, t.expand(3), c), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_ids_of_an_image_are_a_set(variant):
    network = awake(variant=variant)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 700])

    def output(ids: Any) -> Tensor:
        return network(x, t, BatchCondition(torch.tensor(ids)))

    out = output([[0, 3, -1], [4, -1, -1]])
    assert torch.equal(out, output([[3, -1, 0], [-1, 4, 4]]))
    assert torch.equal(out[1:], output([1, 4])[1:])
    for other in ([0, -1, -1], [3, -1, -1], [0, 3, 1]):
        assert not torch.allclose(out[:1], output([other, [4, -1, -1]])[:1], atol=1e-3)


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_the_null_map_adds_nothing(variant):
    network = awake(variant=variant, map_channels=2)
    without = make(variant=variant).eval()
    state = network.state_dict()
    state["stem.weight"] = state["stem.weight"][:, :3]
    without.load_state_dict(state)
    x, t, ids = torch.randn(3, 3, 16, 16), torch.tensor([0, 5, 999]), torch.tensor([-1, 0, 4])
    null, none = BatchCondition(ids, torch.zeros(3, 2, 16, 16)), BatchCondition(ids)
    torch.testing.assert_close(network(x, t, null), without(x, t, none), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.unrolled(t, null)(x, 1), without.unrolled(t, none)(x, 1))


@pytest.mark.parametrize(
    ("channels", "found", "message"),
    [
        (0, torch.zeros(2, 1, 16, 16), r"found a map of shape \(2, 1, 16, 16\), and .* was trained without"),
        (1, None, r"condition: expected a map of 1 channel\(s\), found none"),
        (1, torch.zeros(2, 3, 16, 16), r"expected a map of shape \(2, 1, 16, 16\) .*, found \(2, 3, 16, 16\)"),
        (1, torch.zeros(2, 1, 8, 8), r"expected a map of shape \(2, 1, 16, 16\) .*, found \(2, 1, 8, 8\)"),
        (1, torch.zeros(1, 1, 16, 16), r"expected a map of shape \(2, 1, 16, 16\) .*, found \(1, 1, 16, 16\)"),
        (1, torch.zeros(2, 16, 16), r"expected a map of shape \(2, 1, 16, 16\) .*, found \(2, 16, 16\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_a_map_that_does_not_fit(variant, channels, found, message):
    network = make(variant=variant, map_channels=channels)
    c = BatchCondition(torch.tensor([-1, -1]), found)
    with pytest.raises(UserError, match=message):
        network(torch.zeros(2, 3, 16, 16), torch.tensor([0, 5]), c)
    with pytest.raises(UserError, match=message):
        network.unrolled(torch.tensor([0, 5, 6]), c)


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_no_guidance_has_the_same_network(variant):
    names = [n for n, _ in make(variant=variant, num_ids=0).named_parameters()]
    assert names == [n for n, _ in make(variant=variant).named_parameters()]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_every_parameter_learns(variant, checkpointing):
    network = awake(variant=variant, map_channels=1)
    network.checkpoint_activations(checkpointing)
    out = network(torch.randn(5, 3, 16, 16), torch.arange(5), BatchCondition(torch.arange(5), some_map(1, 5)))
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert network.stem.weight.grad[:, 3:].abs().sum() > 0


@pytest.mark.parametrize(("variant", "map_channels"), [("concat", 0), ("cross_attention", 1)])
def test_the_whole_network_is_one_graph_for_the_compiler(variant, map_channels):
    network = awake(
        variant=variant, map_channels=map_channels, channel_multipliers=[1], attention_resolutions=[16]
    ).train()
    c = BatchCondition(torch.tensor([[-1, -1], [0, 2]]), some_map(map_channels, 2))
    inputs = torch.randn(2, 3, 16, 16), torch.tensor([0, 5]), c
    eager = network(*inputs)
    grads = torch.autograd.grad(eager.square().mean(), list(network.parameters()))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(compiled, eager)
    again = torch.autograd.grad(compiled.square().mean(), list(network.parameters()))
    torch.testing.assert_close(again, grads, rtol=1e-4, atol=1e-6)


def test_size_that_the_levels_do_not_divide():
    with pytest.raises(UserError, match="images.size: 18 is not a multiple of 4"):
        make(side=18, patch_size=2)


def test_misspelt_variant_lists_the_known():
    told = "test: network.variant: unknown value \"concta\"; valid: concat, cross_attention; did you mean 'concat'"
    with pytest.raises(UserError, match=told):
        make(variant="concta")


def test_every_variant_has_a_configuration_of_its_own():
    for variant in DENOISERS:
        assert make(variant=variant) is not None
        with pytest.raises(UserError, match="network.depth: unknown key"):
            make(variant=variant, depth=3)
