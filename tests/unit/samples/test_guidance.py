import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from selfguide.denoiser.schedule import alpha_bar
from selfguide.samples.guidance import guide, guided_model


@given(st.integers(0, 100))
def test_both_ends_and_linearity(seed):
    null, cond = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.equal(guide(null, cond, 0), null)
    assert torch.equal(guide(null, cond, 1), cond)
    assert torch.allclose(guide(null, cond, 3.5), null + 3.5 * (cond - null))
    assert torch.allclose(guide(cond, cond, 7), cond)


class Stub(nn.Module):
    """Says what it was asked: eps = c + 10 t, and counts its calls and rows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x, t, c):
        self.calls.append(len(x))
        return (c + 10 * t).float()[:, None, None, None].expand_as(x)


@pytest.mark.parametrize(("w", "rows"), [(0.0, 2), (1.0, 2), (2.0, 4), (-1.0, 4)])
def test_halves_share_one_forward(w, rows):
    stub, x = Stub(), torch.zeros(2, 3, 4, 4)
    model = guided_model(stub, "eps", alpha_bar("cosine", 100).float(), torch.tensor([3, 5]), w)
    found = model(x, 7)[:, 0, 0, 0]
    want = (1 - w) * (-1 + 70) + w * (torch.tensor([3.0, 5.0]) + 70)
    assert torch.allclose(found, want)
    assert stub.calls == [rows]


def test_null_conditions_need_one_half_whatever_w():
    stub = Stub()
    model = guided_model(stub, "eps", alpha_bar("cosine", 100).float(), torch.tensor([-1, -1]), 5.0)
    assert torch.equal(model(torch.zeros(2, 3, 4, 4), 1), torch.full((2, 3, 4, 4), 9.0))
    assert stub.calls == [2]


def test_v_prediction_is_turned_into_eps():
    abar = alpha_bar("cosine", 100).float()

    class V(nn.Module):
        def forward(self, x, t, c):
            return torch.full_like(x, 0.3)

    x = torch.ones(1, 3, 2, 2)
    found = guided_model(V(), "v", abar, torch.tensor([0]), 2.0)(x, 50)
    assert torch.allclose(found, torch.full_like(x, (abar[50].sqrt() * 0.3 + (1 - abar[50]).sqrt()).item()))
