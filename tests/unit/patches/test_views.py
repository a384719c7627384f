"""Views of images against torchvision's crops."""

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import five_crop

from selfguide.backbone.patches import Stored
from selfguide.patches.layout import CROPS, NUM_VIEWS
from selfguide.patches.views import Views, crop_window
from tests.unit.boxes.conftest import Listed

SIZES = (16, 16), (7, 9), (8, 5), (1, 3), (33, 20), (2, 2)


@pytest.mark.parametrize("size", SIZES)
def test_crops_are_torchvisions(size):
    image = torch.arange(size[0] * size[1]).view(1, *size)
    crops = five_crop(image, [max(1, size[0] // 2), max(1, size[1] // 2)])
    for number, expected in enumerate(crops):
        y0, y1, x0, x1 = crop_window(size, number)
        assert torch.equal(image[:, y0:y1, x0:x1], expected), CROPS[number]


def test_views_are_cut_from_their_image():
    listed = Listed(*SIZES)
    views = Views(listed, NUM_VIEWS["five"])
    assert len(views) == 7 * len(SIZES)
    for m, image in enumerate(listed.images):
        expected = [image, image[:, ::-1], *(
            image[y0:y1, x0:x1] for y0, y1, x0, x1 in (crop_window(image.shape[:2], number) for number in range(5))
        )]  # fmt: skip
        for v, pixels in enumerate(expected):
            i = v * len(SIZES) + m
            np.testing.assert_array_equal(views.read(i), pixels)
            assert views.glance(i)[0] == pixels.shape[:2]


def test_digests_tell_views_and_images_apart():
    views = Views(Stored(np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)), 7)
    digests = [views.glance(i)[1] for i in range(len(views))]
    assert len(set(digests)) == 14
    assert digests == [views.glance(i)[1] for i in range(len(views))]


def test_without_crops():
    views = Views(Listed((4, 6)), NUM_VIEWS["none"])
    assert len(views) == 2
    assert views.read(1).flags["C_CONTIGUOUS"]


def test_what_is_no_picture_is_left_to_who_reads_it():
    grey = Views(Stored(np.zeros((1, 4, 4), np.uint8)), 7)
    assert grey.read(3).shape == (4, 4)
