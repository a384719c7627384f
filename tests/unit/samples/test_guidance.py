import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from selfguide.denoiser.registry import DENOISERS
from selfguide.denoiser.schedule import alpha_bar
from selfguide.samples.guidance import acts_at, guide, guided_model
from selfguide.samples.levels import Levels
from selfguide.signal.condition import BatchCondition as C
from tests.unit.denoiser.test_registry import make

LEVELS = Levels.of(alpha_bar("cosine", 100), 4)  # t = 99, 74, 49, 24
IDS = torch.tensor([3, 5])


@given(st.integers(0, 100))
def test_both_ends_and_linearity(seed):
    null, cond = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.equal(guide(null, cond, 0), null)
    assert torch.equal(guide(null, cond, 1), cond)
    assert torch.allclose(guide(null, cond, 3.5), null + 3.5 * (cond - null))
    assert torch.allclose(guide(cond, cond, 7), cond)


class Stub(nn.Module):
    """Says what it was asked: eps = ids + 10 t + 10_000 x mean of the map + offset, and counts its calls and rows."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.offset = offset
        self.calls: list[int] = []

    def unrolled(self, t, c):
        def output(x, i):
            self.calls.append(len(x))
            assert len(x) == len(c)
            asked = c.ids if c.ids.ndim == 1 else c.ids.sum(1)
            covered = 0 if c.map is None else 10_000 * c.map.mean((1, 2, 3))
            return (asked + 10 * t[i] + self.offset + covered).float()[:, None, None, None].expand_as(x)

        return output


def _ask(model, i):
    return model(torch.zeros(2, 3, 4, 4), i)[:, 0, 0, 0]


@pytest.mark.parametrize(("w", "rows"), [(0.0, 2), (1.0, 2), (2.0, 4), (-1.0, 4)])
def test_halves_share_one_forward(w, rows):
    stub = Stub()
    found = _ask(guided_model(stub, "eps", LEVELS, C(IDS), w), 1)
    assert torch.allclose(found, (1 - w) * (-1 + 740) + w * (IDS + 740.0))
    assert stub.calls == [rows]


def test_null_conditions_need_one_half_whatever_w():
    stub = Stub()
    model = guided_model(stub, "eps", LEVELS, C(torch.tensor([-1, -1])), 5.0)
    assert torch.equal(_ask(model, 3), torch.tensor([239.0, 239.0]))
    assert stub.calls == [2]


def test_v_prediction_is_turned_into_eps():
    class V(nn.Module):
        def unrolled(self, t, c):
            return lambda x, i: torch.full_like(x, 0.3)

    x, a = torch.ones(1, 3, 2, 2), LEVELS.abar[2].float()
    found = guided_model(V(), "v", LEVELS, C(torch.tensor([0])), 2.0)(x, 2)
    assert torch.allclose(found, torch.full_like(x, (a.sqrt() * 0.3 + (1 - a).sqrt()).item()))


@pytest.mark.parametrize("w", [0.0, 3.0])
def test_outside_of_the_interval_only_the_conditional_half_is_computed(w):
    noise = LEVELS.noise_level
    stub = Stub()
    model = guided_model(stub, "eps", LEVELS, C(IDS), w, (float(noise[3]), float(noise[1])))  # acts at 1 and 2
    for i, acts in enumerate([False, True, True, False]):
        base = 10.0 * LEVELS.t[i]
        guided = (1 - w) * (-1 + base) + w * (IDS + base)
        assert torch.allclose(_ask(model, i), guided if acts else IDS + base)
    assert stub.calls == [2, 4 if w else 2, 4 if w else 2, 2]


@given(st.floats(0, 50), st.floats(0.001, 50))
def test_the_interval_is_that_of_the_noise_levels(low, width):
    noise = LEVELS.noise_level[:-1].tolist()
    assert acts_at(LEVELS, (low, low + width)) == [low < level <= low + width for level in noise]
    assert acts_at(LEVELS, None) == [True] * 4


@pytest.mark.parametrize("ids", [IDS, torch.tensor([-1, -1])])
@pytest.mark.parametrize(("w", "calls"), [(0.0, (0, 1)), (1.0, (1, 0)), (2.5, (1, 1))])
def test_autoguidance_asks_both_models_under_the_same_conditions(ids, w, calls):
    stub, weak = Stub(), Stub(offset=1000.0)
    found = _ask(guided_model(stub, "eps", LEVELS, C(ids), w, weak=weak), 0)
    assert torch.allclose(found, (1 - w) * (ids + 1990.0) + w * (ids + 990.0))
    assert (len(stub.calls), len(weak.calls)) == calls


def test_autoguidance_outside_of_the_interval_asks_the_model_alone():
    stub, weak = Stub(), Stub(offset=1000.0)
    model = guided_model(stub, "eps", LEVELS, C(IDS), 2.0, (0.0, float(LEVELS.noise_level[2])), weak)
    assert torch.allclose(_ask(model, 1), IDS + 740.0)
    assert weak.calls == []
    _ask(model, 2)
    assert weak.calls == [2]


MAP = torch.zeros(2, 1, 4, 4)
MAP[0, 0, :2] = 1  # the second image has ids alone


@pytest.mark.parametrize(("w", "rows"), [(0.0, 2), (1.0, 2), (2.0, 4), (-1.0, 4)])
def test_the_null_half_has_neither_ids_nor_map(w, rows):
    stub = Stub()
    found = _ask(guided_model(stub, "eps", LEVELS, C(IDS, MAP), w), 1)
    conditional = IDS + 740.0 + torch.tensor([5000.0, 0.0])
    assert torch.allclose(found, (1 - w) * (-1 + 740) + w * conditional)
    assert stub.calls == [rows]


@pytest.mark.parametrize(
    ("ids", "mask", "rows"),
    [(-1, MAP, 4), (-1, torch.zeros_like(MAP), 2), (-1, None, 2), (3, torch.zeros_like(MAP), 4)],
)
@pytest.mark.parametrize("shape", [(2,), (2, 3)])
def test_a_condition_is_null_where_it_has_neither_ids_nor_map(shape, ids, mask, rows):
    stub = Stub()
    chosen = torch.full(shape, -1)
    chosen.view(2, -1)[:, 0] = ids
    _ask(guided_model(stub, "eps", LEVELS, C(chosen, mask), 2.0), 0)
    assert stub.calls == [rows]


def test_sets_of_ids_have_a_null_half_of_their_shape():
    found = _ask(guided_model(Stub(), "eps", LEVELS, C(torch.tensor([[3, 4, -1], [5, -1, -1]])), 2.0), 1)
    assert torch.allclose(found, -(-3 + 740) + 2 * (torch.tensor([6.0, 3.0]) + 740))


@pytest.mark.parametrize("w", [0.0, 2.5])
def test_a_weak_model_sees_the_same_ids_and_map(w):
    found = _ask(guided_model(Stub(), "eps", LEVELS, C(IDS, MAP), w, weak=Stub(offset=1000.0)), 0)
    covered = torch.tensor([5000.0, 0.0])
    assert torch.allclose(found, (1 - w) * (IDS + 1990.0 + covered) + w * (IDS + 990.0 + covered))


def test_outside_of_the_interval_the_map_stays():
    model = guided_model(Stub(), "eps", LEVELS, C(IDS, MAP), 3.0, (0.0, float(LEVELS.noise_level[2])))
    assert torch.allclose(_ask(model, 0), IDS + 990.0 + torch.tensor([5000.0, 0.0]))


def test_two_halves_of_a_real_network_are_two_forwards():
    torch.manual_seed(0)
    x, c = torch.randn(2, 3, 16, 16), C(IDS, torch.rand(2, 1, 16, 16).round())
    for variant in DENOISERS:
        network = make(variant=variant, num_ids=6, map_channels=1).eval()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        t = LEVELS.t[1].expand(2)
        with torch.no_grad():
            expected = guide(network(x, t, c.null()), network(x, t, c), 3.0)
            found = guided_model(network, "eps", LEVELS, c, 3.0)(x, 1)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
