"""What is trained, as a whole: which image is compared with which, by which weight and shift, and where.

Images of one feature each make positions irrelevant, and a shuffle of two images that avoids itself swaps them.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from selfguide.masks import smooseg as smooseg_module
from selfguide.masks import stego as stego_module
from selfguide.masks.registry import METHODS
from selfguide.masks.smooseg import SmooSeg
from selfguide.masks.stego import PRESETS, Stego
from tests.unit.masks.conftest import batch_of, constant_maps, draw, segmenter_config

IMAGES, OTHERS = draw(2, 3, seed=1) + 0.3, draw(2, 3, seed=2) + 0.3
GRIDS = (2, 3), (3, 1)


def batch():
    return batch_of(constant_maps(IMAGES, *GRIDS), constant_maps(OTHERS, GRIDS[1], GRIDS[0]))


def codes(head, vectors):
    return head.eval()(vectors.float()[:, :, None, None])[:, :, 0, 0]


def similar(a, b):
    return F.cosine_similarity(a.double(), b.double(), dim=1).tolist()


@pytest.mark.parametrize("preset", [*PRESETS, "own"])
@pytest.mark.parametrize("pointwise", [False, True])
def test_stego(preset, pointwise):
    config = segmenter_config("stego", dropout=0.0, preset=preset, pointwise=pointwise, zero_clamp=False)
    method = Stego(3, config)
    weights, shifts = ((0.5,) * 3, (0.1, 0.2, 0.3)) if preset == "own" else PRESETS[preset]
    z, other = codes(method.code, IMAGES), codes(method.code, OTHERS)
    total = 0.0
    for weight, shift, (feats, code) in zip(
        weights, shifts, [(IMAGES, z), (OTHERS, other), (IMAGES.flip(0), z.flip(0))], strict=True
    ):
        agreement, agreed = similar(IMAGES, feats), similar(z, code)
        if pointwise:  # of an image alone all positions agree alike, so that the mean of all is left
            agreement = [sum(agreement) / 2] * 2
        total += weight * sum(-c * (w - shift) for c, w in zip(agreed, agreement, strict=True)) / 2
    areas = [rows * columns for rows, columns in GRIDS]
    best = [max(similar(each.expand(3, -1), method.clusters)) for each in z]
    total -= sum(area * value for area, value in zip(areas, best, strict=True)) / sum(areas)
    assert method(batch()).item() == pytest.approx(total, abs=1e-5)


def test_published_settings():
    assert PRESETS["shipped"] == ((0.67, 0.25, 0.63), (0.18, 0.12, 0.46))
    assert PRESETS["cocostuff_vit_s"] == ((0.67, 0.25, 0.63), (0.08, 0.02, 0.66))
    assert PRESETS["cocostuff_vit_b"] == ((0.10, 1.0, 0.1538), (0.12, 0.20, 1.0))
    assert PRESETS["cityscapes"] == ((1.0, 0.577, 0.906), (0.458, 0.175, 0.314))
    assert PRESETS["potsdam"] == ((0.67, 0.25, 0.63), (0.08, 0.02, 0.46))


def test_neighbours_and_negatives_are_seen_at_the_same_places(monkeypatch):
    seen = []

    def recorded(maps, coords):
        seen.append((maps.shape[1], coords))
        return sample_at(maps, coords)

    sample_at = stego_module.sample_at
    monkeypatch.setattr(stego_module, "sample_at", recorded)
    grid = (3, 3)
    Stego(3, segmenter_config("stego", num_negatives=2))(
        batch_of(constant_maps(IMAGES, grid, grid), constant_maps(OTHERS, grid, grid))
    )
    assert [width for width, _ in seen] == [3, 4] * 4  # features and codes: itself, neighbour, two negatives
    here, there = seen[0][1], seen[2][1]
    assert here.shape == (2, 3, 3, 2)
    assert not torch.equal(here, there)
    assert float(here.abs().max()) <= 1
    assert torch.equal(seen[1][1], here)
    assert all(torch.equal(coords, there) for _, coords in seen[3:])


def test_clusters_do_not_move_the_head():
    method = Stego(3, segmenter_config("stego", preset="own", weights=(0, 0, 0)))
    method(batch()).backward()
    assert all(not each.grad.any() for each in method.code.parameters())
    assert method.clusters.grad.any()


def test_smooseg():
    config = segmenter_config("smooseg", dropout=0.0, shifts=(0.1, -0.48), temperature=0.5)
    method = SmooSeg(3, config)
    z = codes(method.code, IMAGES)
    cosines = [similar(each.expand(3, -1), method.clusters) for each in z]
    labels = torch.tensor(cosines, dtype=torch.float64).div(0.5).softmax(dim=1)
    across = similar(IMAGES, IMAGES.flip(0))[0]
    total = (across - 0.48) * (1 - similar(labels, labels.flip(0))[0])  # within an image labels are the same
    for code, own in zip(z, cosines, strict=True):
        logits = similar(code.expand(3, -1), method.prototypes)
        total += (math.log(sum(map(math.exp, logits))) - logits[int(np.argmax(own))]) / 2
    assert method(batch()).item() == pytest.approx(total, abs=1e-5)


def test_smooseg_shifts_within_images_and_between_them(monkeypatch):
    seen = []

    def recorded(*arguments):
        seen.append(arguments)
        return smoothness(*arguments)

    smoothness = smooseg_module.smoothness
    monkeypatch.setattr(smooseg_module, "smoothness", recorded)
    SmooSeg(3, segmenter_config("smooseg", shifts=(0.1, -0.3)))(batch())
    (feats, same, labels, same_labels, within), (_, other, _, other_labels, across) = seen
    assert (within, across) == (0.1, -0.3)
    assert (feats.shape, labels.shape) == ((2, 3, 9), (2, 3, 9))
    assert torch.equal(feats, same)
    assert torch.equal(labels, same_labels)
    assert torch.equal(feats.flip(0), other)
    assert torch.equal(labels.flip(0), other_labels)


def test_smoosegs_labels_move_the_head_and_targets_the_prototypes():
    method = SmooSeg(3, segmenter_config("smooseg"))
    method(batch()).backward()
    assert any(each.grad.any() for each in method.code.parameters())
    assert method.prototypes.grad.any()
    assert not method.clusters.requires_grad


def test_moving_average_of_prototypes():
    method = SmooSeg(3, segmenter_config("smooseg", prototype_decay=0.75))
    torch.testing.assert_close(method.clusters, F.normalize(method.prototypes.detach(), dim=1))
    before = method.clusters.clone()
    with torch.no_grad():
        method.prototypes.add_(torch.randn(3, 4))
    method.after_step()
    unit = method.prototypes.detach() / method.prototypes.detach().norm(dim=1, keepdim=True)
    moved = 0.75 * before + 0.25 * unit
    torch.testing.assert_close(method.clusters, moved / moved.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("name", ["stego", "smooseg"])
def test_codes_are_read_as_they_were_trained(name):
    config = segmenter_config(name)
    trained = METHODS[name].trained(3, config).code.eval()
    read = METHODS[name].code(3, config).eval()
    read.load_state_dict(trained.state_dict())
    maps = draw(2, 3, 4, 4).float()
    assert torch.equal(read(maps), trained(maps))
    assert isinstance(read.nonlinear[1], nn.ReLU if name == "stego" else nn.SiLU)
    assert read.dropout.p == config.dropout
