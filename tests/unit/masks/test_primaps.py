"""Masks that an image falls into, against numpy's own decomposition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.masks.primaps import PrimapsCode, majority, primaps
from tests.unit.masks.conftest import draw


def by_loops(features, threshold=0.4, coverage=0.95):
    channels, height, width = features.shape
    vectors = features.reshape(channels, -1).T
    vectors = [each / np.linalg.norm(each) for each in vectors.astype(np.float64)]
    masks, seeds = [-1] * len(vectors), []
    while sum(each >= 0 for each in masks) < coverage * len(vectors):
        left = [i for i, each in enumerate(masks) if each < 0]
        own = np.stack([vectors[i] for i in left])
        axis = np.linalg.svd(own - own.mean(axis=0))[2][0]
        seed = vectors[left[int(np.argmax(np.abs(own @ axis)))]]
        most = max(vectors[i] @ seed for i in left)
        for i in left:
            if vectors[i] @ seed >= threshold * most:
                masks[i] = len(seeds)
        seeds.append(seed)
    for i, each in enumerate(masks):
        if each < 0:
            masks[i] = int(np.argmax([vectors[i] @ seed for seed in seeds]))
    return np.array(masks).reshape(height, width)


@pytest.mark.parametrize("settings", [(), (0.4, 0.95), (0.8, 0.95), (0.6, 0.5)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_masks(settings, seed):
    features = draw(5, 6, 7, seed=seed)
    features[0] += 3 * (seed % 2)  # a large common part, which is not the first component
    found = primaps(features.float(), *settings)
    assert (found.dtype, found.shape) == (torch.int64, (6, 7))
    np.testing.assert_array_equal(found.numpy(), by_loops(features.numpy(), *settings))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_more_channels_than_positions(seed):
    features = draw(40, 4, 5, seed=seed)
    features[:, :2, :3] = features[:, :1, :1]  # equal ones: products of low rank
    # Of two positions left, both would be as near to the component.
    np.testing.assert_array_equal(primaps(features.float(), 0.4, 0.6).numpy(), by_loops(features.numpy(), 0.4, 0.6))


def test_regions_of_one_feature_each():
    true = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 2], [2, 2, 2, 2]])
    features = torch.eye(3)[true].permute(2, 0, 1)
    found = primaps(features)
    assert len(found.unique()) == 3
    for label in range(3):
        assert len(found[true == label].unique()) == 1


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_every_position_gets_a_mask_whatever_the_map(height, width, seed):
    generator = np.random.default_rng(seed)
    features = torch.from_numpy(generator.integers(-1, 2, (3, height, width))).float()  # zeros and equal ones too
    found = primaps(features)
    assert found.shape == (height, width)
    assert int(found.min()) >= 0


def test_majority_is_a_median_of_neighbours():
    masks = torch.randint(0, 5, (4, 6), generator=torch.Generator().manual_seed(0))
    found = majority(masks)
    for y, x in np.ndindex(4, 6):
        around = [int(masks[min(max(y + dy, 0), 3), min(max(x + dx, 0), 5)]) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        assert found[y, x] == sorted(around)[4]


def test_code_is_the_mean_of_each_mask():
    maps = draw(2, 4, 5, 6).float()
    code = PrimapsCode()(maps)
    assert code.shape == maps.shape
    for own, found in zip(maps, code, strict=True):
        unit = own / own.norm(dim=0)
        masks = majority(primaps(unit))
        for number in masks.unique():
            mean = unit[:, masks == number].mean(dim=1)
            expected = (mean / mean.norm())[:, None].expand(-1, int((masks == number).sum()))
            torch.testing.assert_close(found[:, masks == number], expected)
