"""Classes of pixels from patches, by loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from selfguide.masks import segment
from selfguide.masks.segment import Seen, centres, classes, codes_at
from selfguide.masks.segmenter import ALPHA, Segmenter
from tests.unit.masks.conftest import draw, masks_config


def segmenter(num_classes=3, channels=4, mean=0.0):
    return Segmenter(nn.Identity(), draw(num_classes, channels, seed=9).float(), torch.full((channels,), mean))


def between_centres(code, scales, y, x):
    """Of (C, rows, columns), a patch's code lying in its middle."""
    rows, columns = code.shape[1:]
    y = min(max(y / scales[0] - 0.5, 0), rows - 1)
    x = min(max(x / scales[1] - 0.5, 0), columns - 1)
    total = torch.zeros(len(code))
    for row, column in np.ndindex(rows, columns):
        total += max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column)) * code[:, row, column]
    return total


WHOLE, MIRROR = draw(1, 4, 3, 5).float(), draw(1, 4, 3, 5, seed=1).float()
SCALES, SIZE = (6.0, 7.0), (17, 33)  # 3 x 5 patches are of 18 x 35 pixels: padded at the bottom and on the right


@pytest.mark.parametrize("mirror", [False, True])
def test_codes_at_pixels(mirror):
    y, x = torch.tensor([0.0, 2.3, 9.0, 16.5, 17.0]), torch.tensor([0.5, 3.5, 12.0, 30.0, 32.9, 33.0])
    found = codes_at(segmenter(mean=0.25), Seen(WHOLE, MIRROR if mirror else None, SCALES, SIZE), y, x)
    assert found.shape == (5, 6, 4)
    for i, j in np.ndindex(5, 6):
        expected = between_centres(WHOLE[0] - 0.25, SCALES, float(y[i]), float(x[j]))
        if mirror:
            other = between_centres(MIRROR[0] - 0.25, SCALES, float(y[i]), 33 - float(x[j]))
            expected = (expected + other) / 2
        torch.testing.assert_close(found[i, j], expected, atol=1e-5, rtol=1e-5)


def test_padding_moves_nothing():
    # A third row and two more columns of patches beyond the image: what lies more than a patch inside stays.
    image = Seen(WHOLE[..., :2, :3], None, SCALES, (12, 21))
    padded = Seen(WHOLE, None, SCALES, (12, 21))
    y, x = torch.tensor([0.5, 5.0, 9.0]), torch.tensor([0.5, 10.0, 17.5])
    torch.testing.assert_close(codes_at(segmenter(), image, y, x), codes_at(segmenter(), padded, y, x))


def test_the_mirror_image_of_a_map_that_is_alike_gives_the_same():
    maps = (WHOLE + WHOLE.flip(-1)) / 2
    y, x = centres(np.array([0, 0, 35, 18]), (7, 9))
    alone = codes_at(segmenter(), Seen(maps, None, SCALES, (18, 35)), y, x)
    both = codes_at(segmenter(), Seen(maps, maps, SCALES, (18, 35)), y, x)
    torch.testing.assert_close(both, alone)
    torch.testing.assert_close(both, both.flip(1))


def test_a_mirrored_map_gives_the_mirror_image():
    y, x = centres(np.array([0, 0, 35, 18]), (6, 35))
    one = codes_at(segmenter(), Seen(WHOLE, MIRROR, SCALES, (18, 35)), y, x)
    other = codes_at(segmenter(), Seen(MIRROR, WHOLE, SCALES, (18, 35)), y, x)
    torch.testing.assert_close(one, other.flip(1))


def test_pixels_lie_where_nearest_resampling_has_them():
    y, x = centres(np.array([3, 1, 11, 5]), (2, 4))
    assert y.tolist() == [2, 4]
    assert x.tolist() == [4, 6, 8, 10]
    y, x = centres(np.array([0, 0, 3, 3]), (3, 3))
    assert y.tolist() == x.tolist() == [0.5, 1.5, 2.5]


def test_classes_of_windows():
    windows = np.array([[0, 0, 33, 17], [5, 2, 17, 14]])
    network, seen = segmenter(), Seen(WHOLE, MIRROR, SCALES, SIZE)
    masks, confidence = classes(network, seen, windows, 6, masks_config(), None)
    assert (masks.dtype, masks.shape, confidence.shape) == (torch.uint8, (2, 6, 6), (2,))
    for number, (x0, y0, x1, y1) in enumerate(windows.tolist()):
        certain = 0.0
        for i, j in np.ndindex(6, 6):
            y, x = y0 + (i + 0.5) * (y1 - y0) / 6, x0 + (j + 0.5) * (x1 - x0) / 6
            code = (between_centres(WHOLE[0], SCALES, y, x) + between_centres(MIRROR[0], SCALES, y, 33 - x)) / 2
            cosines = [
                float(code @ each) / math.sqrt(float(code @ code)) / math.sqrt(float(each @ each))
                for each in network.clusters
            ]
            assert masks[number, i, j] == int(np.argmax(cosines))
            odds = [math.exp(ALPHA * each) for each in cosines]
            certain += max(odds) / sum(odds) / 36
        assert confidence[number].item() == pytest.approx(certain, abs=1e-5)


def test_a_crf_that_changes_nothing_changes_nothing(monkeypatch):
    # Run on the whole image at its size; windows of it are cut afterwards.
    seen_by_crf = []

    def unchanged(image, log_probabilities):
        seen_by_crf.append((image, log_probabilities.shape))
        return np.exp(log_probabilities)

    monkeypatch.setattr(segment, "refine", unchanged)
    windows, pixels = np.array([[4, 3, 16, 15], [20, 5, 32, 17]]), np.zeros((17, 33, 3), np.uint8)
    network, seen = segmenter(), Seen(WHOLE, None, SCALES, SIZE)
    plain, certain = classes(network, seen, windows, 12, masks_config(), pixels)
    assert not seen_by_crf
    sharp, sharp_certain = classes(network, seen, windows, 12, masks_config(crf=True), pixels)
    assert len(seen_by_crf) == 1
    assert seen_by_crf[0][0] is pixels
    assert seen_by_crf[0][1] == (3, 17, 33)
    assert torch.equal(sharp, plain)
    torch.testing.assert_close(sharp_certain, certain)
