"""STEGO's parts against loops that are written from its description."""

import itertools
import math

import numpy as np
import pytest
import torch

from selfguide.masks.stego import StegoHead, cluster_probe, correspondence_loss, sample_at, self_avoiding

B, C, D, S = 2, 3, 4, 3
FLAGS = list(itertools.product([False, True], repeat=3))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def test_sampling_is_bilinear_between_the_centres_of_corner_cells():
    maps = draw(B, C, 4, 6)
    coords = 2.6 * torch.rand(B, 3, 5, 2, generator=rng(1), dtype=torch.float64) - 1.3  # some beyond the border
    found = sample_at(maps, coords)
    assert found.shape == (B, C, 5, 3)
    for b, i, j in np.ndindex(B, 3, 5):
        x, y = coords[b, i, j].tolist()
        x, y = min(max((x + 1) / 2 * 5, 0), 5), min(max((y + 1) / 2 * 3, 0), 3)
        expected = torch.zeros(C, dtype=torch.float64)
        for row, column in np.ndindex(4, 6):
            expected += max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column)) * maps[b, :, row, column]
        torch.testing.assert_close(found[b, :, j, i], expected)


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def loss_by_loops(feats_a, feats_b, code_a, code_b, shift, pointwise, zero_clamp, stabilize):
    shape = (B, S, S, S, S)
    agreement, codes = np.zeros(shape), np.zeros(shape)
    for n, h, w, i, j in np.ndindex(shape):
        agreement[n, h, w, i, j] = cosine(feats_a[n, :, h, w].tolist(), feats_b[n, :, i, j].tolist())
        codes[n, h, w, i, j] = cosine(code_a[n, :, h, w].tolist(), code_b[n, :, i, j].tolist())
    if pointwise:
        before, centred = agreement.mean(), np.zeros(shape)
        for n, h, w in np.ndindex(B, S, S):
            centred[n, h, w] = agreement[n, h, w] - agreement[n, h, w].mean()
        agreement = centred - centred.mean() + before
    loss = np.zeros(shape)
    for place in np.ndindex(shape):
        code = codes[place]
        if zero_clamp and code < 0:
            code = 0
        if stabilize and code > 0.8:
            code = 0.8
        loss[place] = -code * (agreement[place] - shift)
    return loss


def pair():
    code_a, code_b = draw(B, D, S, S, seed=3), draw(B, D, S, S, seed=4)
    code_b[:, :, 0] = code_a[:, :, 1] + 0.1  # some cosines above 0.8
    return draw(B, C, S, S, seed=1) + 0.5, draw(B, C, S, S, seed=2) + 0.5, code_a, code_b


@pytest.mark.parametrize("flags", FLAGS)
def test_loss(flags):
    found = correspondence_loss(*pair(), 0.18, *flags)
    np.testing.assert_allclose(found.numpy(), loss_by_loops(*pair(), 0.18, *flags), atol=1e-12)


def test_defaults_are_the_papers():
    assert torch.equal(correspondence_loss(*pair(), 0.3), correspondence_loss(*pair(), 0.3, True, True, False))


@pytest.mark.parametrize("flags", FLAGS)
def test_gradient_goes_to_the_codes_alone(flags):
    tensors = [each.requires_grad_() for each in pair()]
    correspondence_loss(*tensors, 0.18, *flags).sum().backward()
    assert tensors[0].grad is None
    assert tensors[1].grad is None
    step, away = 1e-6, 0
    for which in (2, 3):
        for place in itertools.islice(np.ndindex(B, D, S, S), which, None, 5):
            values = []
            for sign in (1, -1):
                moved = [each.detach().clone() for each in tensors]
                moved[which][place] += sign * step
                values.append(correspondence_loss(*moved, 0.18, *flags).sum().item())
            found = tensors[which].grad[place].item()
            away += abs(found) > 1e-3
            assert found == pytest.approx((values[0] - values[1]) / 2 / step, abs=1e-6)
    assert away > 10


def test_clamped_cosines_have_no_gradient():
    feats, code = draw(1, C, 1, 1), draw(1, D, 1, 1).requires_grad_()
    for other, kept in ((-code.detach() + 0.1, False), (code.detach() * 2 + 0.1, True)):
        (gradient,) = torch.autograd.grad(correspondence_loss(feats, feats, code, other, 0.1).sum(), code)
        assert bool(gradient.abs().sum() > 1e-6) == kept
        (gradient,) = torch.autograd.grad(
            correspondence_loss(feats, feats, code, other, 0.1, stabilize=True).sum(), code
        )
        assert float(gradient.abs().sum()) == 0


def test_head():
    head = StegoHead(384, 70)
    assert sum(each.numel() for each in head.parameters()) == 201_740
    assert [tuple(each.shape[:2]) for each in head.parameters()] == [
        (70, 384), (70,), (384, 384), (384,), (70, 384), (70,),
    ]  # fmt: skip


def test_head_is_a_linear_branch_and_one_with_a_hidden_layer():
    head, maps = StegoHead(C, D).eval().double(), draw(B, C, 2, 4)
    w1, b1, w2, b2, w3, b3 = (each.detach().squeeze() for each in head.parameters())
    found = head(maps)
    assert found.shape == (B, D, 2, 4)
    for b, y, x in np.ndindex(B, 2, 4):
        own = maps[b, :, y, x]
        torch.testing.assert_close(found[b, :, y, x], w1 @ own + b1 + w3 @ (w2 @ own + b2).clamp(min=0) + b3)


def test_dropout_of_whole_channels_in_training_alone():
    head, maps = StegoHead(8, D, 0.5), torch.ones(B, 8, 3, 3)
    assert not torch.equal(head(maps), head(maps))
    dropped = head.dropout(maps).flatten(2)
    assert bool((dropped == dropped[..., :1]).all())  # a channel goes as a whole
    assert set(dropped.unique().tolist()) == {0, 2}
    head.eval()
    assert torch.equal(head(maps), head(maps))


def test_branches_drop_by_themselves():
    head = StegoHead(64, 1, 0.5)
    with torch.no_grad():
        for each in head.parameters():
            each.zero_()
        head.linear.weight.fill_(1)  # the sum of the channels that are left, less that of the other branch
        head.nonlinear[0].weight.copy_(torch.eye(64)[:, :, None, None])
        head.nonlinear[2].weight.fill_(-1)
    assert head(torch.ones(1, 64, 1, 1)).item() != 0


@pytest.mark.parametrize("num", [1, 2, 3, 7])
def test_a_shuffle_avoids_itself(num):
    generator, orders = rng(), []
    for _ in range(50):
        order = self_avoiding(num, generator).tolist()
        assert all(0 <= each < num for each in order)
        assert num == 1 or all(each != i for i, each in enumerate(order))
        orders.append(tuple(order))
    assert num < 3 or len(set(orders)) > 1
    assert self_avoiding(num, rng(5)).tolist() == self_avoiding(num, rng(5)).tolist()


def test_a_fixed_point_is_moved_on_by_one():
    for seed in range(20):
        permutation = torch.randperm(5, generator=rng(seed)).tolist()
        expected = [(each + 1) % 5 if each == i else each for i, each in enumerate(permutation)]
        assert self_avoiding(5, rng(seed)).tolist() == expected


@pytest.mark.parametrize("alpha", [None, 0.5, 3.0])
def test_cluster_probe(alpha):
    code, clusters = draw(B, D, 2, 3), draw(5, D, seed=1)
    loss, probabilities = cluster_probe(code, clusters, alpha)
    assert probabilities.shape == (B, 5, 2, 3)
    total = 0.0
    for b, y, x in np.ndindex(B, 2, 3):
        cosines = [cosine(code[b, :, y, x].tolist(), each) for each in clusters.tolist()]
        if alpha is None:
            own = [float(k == int(np.argmax(cosines))) for k in range(5)]
        else:
            own = [math.exp(alpha * each) / sum(math.exp(alpha * other) for other in cosines) for each in cosines]
        np.testing.assert_allclose(probabilities[b, :, y, x].numpy(), own, atol=1e-12)
        total -= sum(p * c for p, c in zip(own, cosines, strict=True))
    assert loss.item() == pytest.approx(total / (B * 6))
