import pytest
import torch
import torch.nn.functional as F

from selfguide.denoiser.cross_attention import ConditionTokens
from selfguide.signal.condition import BatchCondition
from tests.unit.denoiser.test_registry import awake

X, T, C = (
    torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
    torch.tensor([0, 5, 999]),
    BatchCondition(torch.tensor([-1, 0, 4])),
)


def test_tokens_are_one_linear_layer_on_multi_hot_vectors():
    tokens = ConditionTokens(4)
    multi_hot = torch.tensor([[0.0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]])
    expected = F.linear(multi_hot, tokens.rows.T, tokens.bias).view(3, 8, 32)
    torch.testing.assert_close(tokens(torch.tensor([[3, 1], [-1, -1], [-1, 0]])), expected)


@pytest.mark.parametrize("which", ["time_tokens", "condition_tokens"])
def test_tokens_alone_carry_time_and_condition_to_the_image(which):
    network = awake(variant="cross_attention")
    torch.nn.init.zeros_(network.film.weight)  # closes the way that `concat` has
    out = network(X, T, C)
    times, c = (T.flip(0), C) if which == "time_tokens" else (T, BatchCondition(C.ids.flip(0)))
    changed = network(X, times, c)
    assert not torch.allclose(out[0], changed[0], atol=1e-3)
    assert torch.allclose(out[1], changed[1], atol=1e-5)


def test_context_reaches_every_attention_layer_and_no_other_place():
    network = awake(variant="cross_attention")
    out = network(X, T, C)
    start = 0
    assert len(network.context_widths) == 4  # encoder 1, middle 1, decoder 2
    for width in network.context_widths:
        kept = network.context.weight.data[start : start + width].clone()
        network.context.weight.data[start : start + width] = 0
        assert not torch.allclose(network(X, T, C), out, atol=1e-4)
        network.context.weight.data[start : start + width] = kept
        start += width
    assert start == len(network.context.weight)
    for stage in (s for s in network.modules() if getattr(s, "attention", None) is not None):
        torch.nn.init.zeros_(stage.attention.out.weight)
    out = network(X, T, C)
    torch.nn.init.normal_(network.context.weight)
    assert torch.equal(network(X, T, C), out)


def test_what_depends_on_an_image_alone_is_computed_once():
    network = awake(variant="cross_attention")
    calls = []
    network.condition_tokens.register_forward_hook(lambda *_: calls.append("condition"))
    network.time_tokens.register_forward_hook(lambda *_: calls.append("time"))
    at = network.unrolled(torch.arange(10), C)
    for i in range(10):
        at(X, i)
    assert sorted(calls) == ["condition", "time"]
