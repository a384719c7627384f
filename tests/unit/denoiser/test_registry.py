"""What every variant of the network promises."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfguide.core.errors import UserError
from selfguide.denoiser.registry import DENOISERS, build

TINY = {
    "variant": "concat", "image_size": 16, "num_ids": 5, "patch_size": 1, "base_channels": 8,
    "channel_multipliers": [1, 2], "num_blocks": 1, "attention_resolutions": [8], "num_heads": 4, "dropout": 0.0,
    "time_width": 16, "guidance_width": 8,
}  # fmt: skip
MASKS = [0, 1, 3]


def awake(config: dict[str, Any]) -> nn.Module:
    """With weights that let everything through: a fresh network's output is 0."""
    network = build(config).eval()
    loud = ("attention.out", "context", "token")
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, std=0.6 if any(part in name for part in loud) else 0.2)
    return network


def some_mask(channels: int, batch: int = 3) -> Tensor | None:
    return torch.rand(batch, channels, 16, 16).round() if channels else None


def rows(mask: Tensor | None, which: slice) -> Tensor | None:
    return None if mask is None else mask[which]


@pytest.mark.parametrize("mask_channels", MASKS)
@pytest.mark.parametrize("patch_size", [1, 2])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_contract_of_every_variant(variant, patch_size, mask_channels):
    torch.manual_seed(0)
    config = {**TINY, "variant": variant, "patch_size": patch_size, "mask_channels": mask_channels}
    x, t, c, mask = (
        torch.randn(3, 3, 16, 16),
        torch.tensor([0, 5, 999]),
        torch.tensor([-1, 0, 4]),
        some_mask(mask_channels),
    )
    assert torch.equal(build(config)(x, t, c, mask), torch.zeros_like(x)), "the output must start as 0"
    network = awake(config)
    out = network(x, t, c, mask)
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    assert not torch.allclose(out, network(x, t, torch.tensor([-1, 1, 4]), mask))
    assert not torch.allclose(out, network(x, t + torch.tensor([0, 1, -1]), c, mask))
    for channel in range(mask_channels):
        moved = mask.clone()
        moved[:, channel] = mask[:, channel].roll(3, -1)
        assert not torch.allclose(out, network(x, t, c, moved), atol=1e-3)
    # No image may see another of its batch.
    one = slice(1, 2)
    assert torch.allclose(network(x[one], t[one], c[one], rows(mask, one)), out[one], atol=1e-4)


@pytest.mark.parametrize("mask_channels", MASKS)
@pytest.mark.parametrize("ids", [torch.tensor([-1, 0, 4]), torch.tensor([[-1, -1], [0, -1], [4, 2]])])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_unrolled_is_forward_at_every_step(variant, mask_channels, ids):
    torch.manual_seed(0)
    network = awake({**TINY, "variant": variant, "mask_channels": mask_channels})
    x, steps, mask = torch.randn(3, 3, 16, 16), torch.tensor([999, 400, 0]), some_mask(mask_channels)
    at = network.unrolled(steps, ids, mask)
    for i, t in enumerate(steps):
        torch.testing.assert_close(at(x, i), network(x, t.expand(3), ids, mask), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_ids_of_an_image_are_a_set(variant):
    network = awake({**TINY, "variant": variant})
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 700])
    out = network(x, t, torch.tensor([[0, 3, -1], [4, -1, -1]]))
    assert torch.equal(out, network(x, t, torch.tensor([[3, -1, 0], [-1, 4, 4]])))
    assert torch.equal(out[1:], network(x, t, torch.tensor([1, 4]))[1:])
    for other in ([0, -1, -1], [3, -1, -1], [0, 3, 1]):
        assert not torch.allclose(out[:1], network(x, t, torch.tensor([other, [4, -1, -1]]))[:1], atol=1e-3)


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_the_null_mask_adds_nothing(variant):
    network = awake({**TINY, "variant": variant, "mask_channels": 2})
    without = build({**TINY, "variant": variant}).eval()
    state = network.state_dict()
    state["stem.weight"] = state["stem.weight"][:, :3]
    without.load_state_dict(state)
    x, t, c = torch.randn(3, 3, 16, 16), torch.tensor([0, 5, 999]), torch.tensor([-1, 0, 4])
    torch.testing.assert_close(network(x, t, c, torch.zeros(3, 2, 16, 16)), without(x, t, c), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.unrolled(t, c, torch.zeros(3, 2, 16, 16))(x, 1), without.unrolled(t, c)(x, 1))


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_mask_channels_of_0_are_those_of_a_network_without(variant):
    networks = []
    for config in ({}, {"mask_channels": 0}):
        torch.manual_seed(0)
        networks.append(build({**TINY, "variant": variant, **config}))
    for (name, a), (other, b) in zip(*(n.named_parameters() for n in networks), strict=True):
        assert name == other
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("channels", "mask", "message"),
    [
        (0, torch.zeros(2, 1, 16, 16), r"found one of shape \(2, 1, 16, 16\), and .* was trained without masks"),
        (1, None, r"mask: missing, and the denoiser takes 1 mask channel"),
        (1, torch.zeros(2, 3, 16, 16), r"expected shape \(2, 1, 16, 16\) .*, found \(2, 3, 16, 16\)"),
        (1, torch.zeros(2, 1, 8, 8), r"expected shape \(2, 1, 16, 16\) .*, found \(2, 1, 8, 8\)"),
        (1, torch.zeros(1, 1, 16, 16), r"expected shape \(2, 1, 16, 16\) .*, found \(1, 1, 16, 16\)"),
        (1, torch.zeros(2, 16, 16), r"expected shape \(2, 1, 16, 16\) .*, found \(2, 16, 16\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_a_mask_that_does_not_fit(variant, channels, mask, message):
    network = build({**TINY, "variant": variant, "mask_channels": channels})
    null = torch.tensor([-1, -1])
    with pytest.raises(UserError, match=message):
        network(torch.zeros(2, 3, 16, 16), torch.tensor([0, 5]), null, mask)
    with pytest.raises(UserError, match=message):
        network.unrolled(torch.tensor([0, 5, 6]), null, mask)


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_no_guidance_has_the_same_network(variant):
    names = [n for n, _ in build({**TINY, "variant": variant, "num_ids": 0}).named_parameters()]
    assert names == [n for n, _ in build({**TINY, "variant": variant}).named_parameters()]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_every_parameter_learns(variant, checkpointing):
    network = awake({**TINY, "variant": variant, "mask_channels": 1})
    network.activation_checkpointing = checkpointing
    out = network(torch.randn(5, 3, 16, 16), torch.arange(5), torch.arange(5), some_mask(1, 5))
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert network.stem.weight.grad[:, 3:].abs().sum() > 0


@pytest.mark.parametrize(("variant", "mask_channels"), [("concat", 0), ("cross_attention", 1)])
def test_the_whole_network_is_one_graph_for_the_compiler(variant, mask_channels):
    network = awake({**TINY, "variant": variant, "mask_channels": mask_channels, "channel_multipliers": [1]}).train()
    inputs = (
        torch.randn(2, 3, 16, 16),
        torch.tensor([0, 5]),
        torch.tensor([[-1, -1], [0, 2]]),
        some_mask(mask_channels, 2),
    )
    eager = network(*inputs)
    grads = torch.autograd.grad(eager.square().mean(), list(network.parameters()))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(compiled, eager)
    again = torch.autograd.grad(compiled.square().mean(), list(network.parameters()))
    torch.testing.assert_close(again, grads, rtol=1e-4, atol=1e-6)


def test_size_that_the_levels_do_not_divide():
    with pytest.raises(UserError, match="images.size: 18 is not a multiple of 4"):
        build({**TINY, "image_size": 18, "patch_size": 2})


def test_misspelt_variant_lists_the_known():
    with pytest.raises(UserError, match="unknown 'concta'; known: concat, cross_attention; did you mean 'concat'"):
        build({**TINY, "variant": "concta"})
