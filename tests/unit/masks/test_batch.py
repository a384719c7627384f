"""Maps of images whose grids differ: what is beyond an image's own grid is never seen."""

import numpy as np
import pytest
import torch

from selfguide.masks.batch import Maps
from selfguide.masks.stego import sample_at
from tests.unit.masks.conftest import draw, rng

GRIDS = [(2, 5), (4, 3), (1, 1), (4, 5)]


@pytest.fixture
def own():
    return [draw(2, *grid, seed=i).float() for i, grid in enumerate(GRIDS)]


@pytest.fixture
def maps(own):
    padded = torch.full((4, 2, 4, 5), torch.nan)  # so that whatever looks there is seen
    for whole, each in zip(padded, own, strict=True):
        whole[:, : each.shape[1], : each.shape[2]] = each
    return Maps(padded, torch.tensor(GRIDS))


def test_sampling_a_padded_map_is_sampling_the_images_own(maps, own):
    coords = 2 * torch.rand(4, 6, 7, 2, generator=rng()) - 1
    padded = Maps(maps.maps.nan_to_num(1e3), maps.grids)
    found = sample_at(padded.maps, padded.inside(coords))
    for i, each in enumerate(own):
        expected = sample_at(each[None], coords[i : i + 1])[0]
        torch.testing.assert_close(found[i], expected, atol=2e-3, rtol=0)  # of what lies next to it, 1e3


def test_corners_are_the_centres_of_the_own_corner_cells(maps):
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]).expand(4, 2, 2)
    found = maps.inside(corners)
    for i, (rows, columns) in enumerate(GRIDS):
        expected = [[-1, -1], [2 * (columns - 1) / 4 - 1, 2 * (rows - 1) / 3 - 1]]
        torch.testing.assert_close(found[i], torch.tensor(expected))


def test_own_cells_as_one_row(maps, own):
    found = maps.cells(maps.maps)
    assert found.shape == (1, 2, 1, 10 + 12 + 1 + 20)
    torch.testing.assert_close(found[0, :, 0], torch.cat([each.flatten(1) for each in own], dim=1))


def test_picked_cells_are_own(maps, own):
    places = maps.pick(500, rng())
    assert places.shape == (4, 500)
    picked = maps.maps.flatten(2).gather(2, places[:, None].expand(-1, 2, -1))
    for each, values in zip(own, picked, strict=True):
        cells, counts = np.unique(values[0].numpy(), return_counts=True)
        assert cells.tolist() == sorted(each[0].flatten().tolist())  # each is drawn, and nothing else
        assert counts.min() > 500 / len(cells) / 3
    assert torch.equal(places, maps.pick(500, rng()))
    assert not torch.equal(places, maps.pick(500, rng(1)))


def test_some_images(maps, own):
    taken = maps.take(torch.tensor([2, 0, 0]))
    assert len(taken) == 3
    assert taken.grids.tolist() == [[1, 1], [2, 5], [2, 5]]
    torch.testing.assert_close(taken.maps[1, :, :2], own[0])
