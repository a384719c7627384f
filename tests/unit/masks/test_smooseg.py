"""SmooSeg's energy against loops that are written from its description."""

import itertools
import math

import numpy as np
import pytest
import torch

from selfguide.masks.smooseg import data_term, smoothness

B, C, K, N = 2, 3, 4, 5


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a, b):
    return sum(map(float.__mul__, a, b)) / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def energy_by_loops(feats_a, feats_b, probs_a, probs_b, shift):
    agreement = np.zeros((B, N, N))
    for b, i, j in np.ndindex(B, N, N):
        agreement[b, i, j] = cosine(feats_a[b, :, i].tolist(), feats_b[b, :, j].tolist())
    before = agreement.mean()
    for b, i in np.ndindex(B, N):
        agreement[b, i] -= agreement[b, i].mean()
    agreement += before - agreement.mean()
    total = 0.0
    for b, i, j in np.ndindex(B, N, N):
        total += (agreement[b, i, j] + shift) * (1 - cosine(probs_a[b, :, i].tolist(), probs_b[b, :, j].tolist()))
    return total / (B * N * N)


def four():
    probs = [draw(B, K, N, seed=seed).softmax(dim=1) for seed in (3, 4)]
    return draw(B, C, N, seed=1) + 0.5, draw(B, C, N, seed=2) + 0.5, *probs


@pytest.mark.parametrize("shift", [-0.48, 0.0, 0.02])
def test_energy(shift):
    assert smoothness(*four(), shift).item() == pytest.approx(energy_by_loops(*four(), shift))


def test_gradient_of_the_energy_goes_to_the_probabilities_alone():
    tensors = [each.requires_grad_() for each in four()]
    smoothness(*tensors, -0.48).backward()
    assert tensors[0].grad is None
    assert tensors[1].grad is None
    step = 1e-6
    for which in (2, 3):
        for place in np.ndindex(B, K, N):
            values = []
            for sign in (1, -1):
                moved = [each.detach().clone() for each in tensors]
                moved[which][place] += sign * step
                values.append(smoothness(*moved, -0.48).item())
            assert tensors[which].grad[place].item() == pytest.approx((values[0] - values[1]) / 2 / step, abs=1e-8)


def test_where_features_agree_one_label_costs_less():
    feats = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    right, wrong = (torch.eye(2)[torch.tensor(each)].T[None] for each in ([0, 0, 1, 1], [0, 1, 0, 1]))
    assert smoothness(feats, feats, right, right, -0.5) < smoothness(feats, feats, wrong, wrong, -0.5)


def test_data_term():
    code, prototypes = draw(B, 6, N).requires_grad_(), draw(K, 6, seed=1).requires_grad_()
    targets = torch.tensor([[0, 1, 2, 3, 0], [3, 3, 1, 0, 2]])
    total = 0.0
    for b, i in np.ndindex(B, N):
        logits = [cosine(code[b, :, i].tolist(), each) for each in prototypes.tolist()]
        total += math.log(sum(map(math.exp, logits))) - logits[int(targets[b, i])]
    loss = data_term(code, prototypes, targets)
    assert loss.item() == pytest.approx(total / (B * N))
    loss.backward()
    assert code.grad is None
    step = 1e-6
    for k, d in itertools.product(range(K), range(6)):
        values = []
        for sign in (1, -1):
            moved = prototypes.detach().clone()
            moved[k, d] += sign * step
            values.append(data_term(code, moved, targets).item())
        assert prototypes.grad[k, d].item() == pytest.approx((values[0] - values[1]) / 2 / step, abs=1e-8)
