import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from selfguide.backbone.artifact import load_backbone, save_backbone
from selfguide.backbone.inputs import input_hw
from selfguide.backbone.keys import vit_keys
from selfguide.backbone.patches import Chosen, Stored
from selfguide.backbone.registry import VARIANTS
from selfguide.boxes.annotate import annotate
from selfguide.boxes.lost import lost_box
from selfguide.boxes.registry import METHODS
from selfguide.boxes.token_cut import token_cut_box
from selfguide.core.errors import UserError
from tests.unit.boxes.conftest import Listed, boxes_config

SIZES = [(20, 30), (18, 29), (30, 20), (16, 16), (20, 30), (17, 31), (8, 44), (19, 28)]


def expected(backbone, image, config, input_size=None):
    """One image by itself, step by step."""
    network = load_backbone(backbone)
    height, width = image.shape[:2]
    hw = (height, width)
    if input_size:
        hw = (round(height * input_size / min(height, width)), round(width * input_size / min(height, width)))
        image = np.asarray(Image.fromarray(image).resize(hw[::-1], Image.Resampling.BILINEAR))
    x = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
    keys = vit_keys(network, x)[0]
    grid, scales = (-(-hw[0] // 4), -(-hw[1] // 4)), (4 * height / hw[0], 4 * width / hw[1])
    if config.method == "lost":
        return lost_box(keys, grid, scales, (height, width), config.k_patches or max(1, len(keys) // 8))
    return token_cut_box(keys, grid, scales, (height, width), config.tau)


@pytest.mark.parametrize("changes", [{}, {"method": "token_cut"}, {"k_patches": None}, {"k_patches": 5}])
def test_row_i_is_the_box_of_image_i_at_its_own_size(scratch_root, backbone, changes):
    images, config = Listed(*SIZES), boxes_config(**changes)
    found = annotate(config, images, backbone, seed=0)
    for i, image in enumerate(images.images):
        one = expected(backbone, image, config)
        assert tuple(found.boxes[i]) == one.box, i
        assert found.fallback[i] == one.fallback
    assert found.boxes.dtype == np.int32
    assert found.fallback.dtype == np.bool_
    assert found.facts["backbone"].startswith("dino_vit ")
    assert not list((scratch_root / ".scratch").rglob("*.npy"))


@pytest.mark.parametrize("method", ["lost", "center"])
def test_each_image_is_read_once_and_the_digest_is_that_of_all_pixels_in_order(backbone, method):
    images = Listed(*SIZES)
    found = annotate(boxes_config(method=method), images, backbone, 0)
    assert images.num_reads == [1] * len(SIZES)
    total = hashlib.sha256()
    for image in images.images:
        height, width = image.shape[:2]
        total.update(hashlib.sha256(f"{height} {width} ".encode() + image.tobytes()).digest())
    assert found.facts["upstream"]["pixels"] == total.hexdigest()


class Stopped(Listed):
    """Its image `last` stops the run."""

    last = 4

    def read(self, i):
        if i == self.last:
            raise KeyboardInterrupt
        return super().read(i)


def test_a_rerun_after_a_kill_reads_what_is_left_unless_an_image_changed(backbone):
    images, config = Stopped(*SIZES), boxes_config(batch_size=1)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        annotate(config, images, backbone, 0)
    done = images.num_reads
    assert 0 < sum(done) < len(SIZES) - 1
    same, changed = Listed(*SIZES), Listed(*SIZES)
    changed.images[int(np.argmax(done))][0, 0, 0] ^= 1  # as large, and read already
    annotate(config, changed, backbone, 0)
    assert changed.num_reads == [1] * len(SIZES)
    found = annotate(config, same, backbone, 0)
    assert (np.array(same.num_reads) + done).tolist() == [1] * len(SIZES)
    np.testing.assert_array_equal(found.boxes, annotate(config, Listed(*SIZES), backbone, 0).boxes)


def test_a_file_that_changes_its_size_meanwhile(backbone):
    images = Listed((8, 8), (8, 8))
    images.glance = lambda i: ((8, 9), b"")
    with pytest.raises(UserError, match="boxes: image 0: expected 9 x 8 pixels, as at first, found 8 x 8"):
        annotate(boxes_config(), images, backbone, 0)


def test_batches_leave_no_trace(backbone):
    images = Listed(*SIZES)
    one, two = (annotate(boxes_config(batch_size=size), images, backbone, 0) for size in (1, 100))
    np.testing.assert_array_equal(one.boxes, two.boxes)


def test_resized_for_the_network_and_back(backbone):
    images, config = Listed((20, 30), (9, 7)), boxes_config(input_size=40)
    found = annotate(config, images, backbone, 0)
    for i, image in enumerate(images.images):
        near = expected(backbone, image, config, 40).box
        # PIL rounds pixels to whole numbers, which may flip a sign; and boxes end on whole pixels.
        assert np.abs(found.boxes[i] - near).max() <= 8, i
        assert (found.boxes[i, :2] >= 0).all()
        assert (found.boxes[i, 2:] <= image.shape[1::-1]).all()
        assert (found.boxes[i, :2] < found.boxes[i, 2:]).all()
    assert input_hw((375, 500), 224) == (224, 299)
    assert input_hw((500, 375), None) == (500, 375)


def test_center(scratch_root, backbone):
    found = annotate(boxes_config(method="center", center_area=0.25), Listed((20, 40), (16, 16)), backbone, 0)
    assert found.boxes.tolist() == [[10, 5, 30, 15], [4, 4, 12, 12]]
    # It looks at nothing, so any backbone will do.
    architecture = {"input_size": 8, "width": 4}
    network = VARIANTS["simclr_resnet18"].build(architecture)
    save_backbone(scratch_root / "resnet", network, "simclr_resnet18", architecture)
    again = annotate(boxes_config(method="center", center_area=1.0), Listed((20, 40)), scratch_root / "resnet", 0)
    assert again.boxes.tolist() == [[0, 0, 40, 20]]


def test_random_boxes_have_losts_sizes_at_places_of_their_own(backbone):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 24, 24, 3), dtype=np.uint8)
    lost = annotate(boxes_config(), Stored(pixels), backbone, 0).boxes
    config = boxes_config(method="random_area_matched")
    one, two = (annotate(config, Stored(pixels), backbone, seed).boxes for seed in (0, 1))
    for moved in (one, two):
        np.testing.assert_array_equal(moved[:, 2:] - moved[:, :2], lost[:, 2:] - lost[:, :2])
        assert moved.min() >= 0
        assert moved.max() <= 24
    assert (one != two).any()
    assert (one != lost).any()
    # An image keeps its box whatever comes after it.
    np.testing.assert_array_equal(annotate(config, Stored(pixels[:5]), backbone, 0).boxes, one[:5])


def test_chosen_images(backbone):
    images = Listed(*SIZES)
    rows = np.array([4, 0, 6])
    found = annotate(boxes_config(), Chosen(images, rows), backbone, 0)
    np.testing.assert_array_equal(found.boxes, annotate(boxes_config(), images, backbone, 0).boxes[rows])


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method(backbone, method):
    images = Listed((16, 16), (1, 1), (3, 40))
    found = annotate(boxes_config(method=method), images, backbone, 0)
    for box, image in zip(found.boxes, images.images, strict=True):
        assert 0 <= box[0] < box[2] <= image.shape[1]
        assert 0 <= box[1] < box[3] <= image.shape[0]
    assert found.boxes[1].tolist() == [0, 0, 1, 1]


def test_a_backbone_without_patches(scratch_root):
    architecture = {"input_size": 8, "width": 4}
    network = VARIANTS["simclr_resnet18"].build(architecture)
    save_backbone(scratch_root / "resnet", network, "simclr_resnet18", architecture)
    with pytest.raises(UserError, match="boxes need a vision transformer: dino_vit"):
        annotate(boxes_config(), Listed((8, 8)), scratch_root / "resnet", 0)


def test_bad_images_are_named(backbone):
    images = Listed((8, 8), (8, 8))
    images.images[1] = images.images[1][..., 0]
    with pytest.raises(UserError, match=r"boxes: image 1: expected uint8 \(H, W, 3\), found uint8 \(8, 8\)"):
        annotate(boxes_config(), images, backbone, 0)
    with pytest.raises(UserError, match="at least one image"):
        annotate(boxes_config(), Listed(), backbone, 0)


def test_keys_that_are_not_finite_name_the_image(scratch_root, backbone):
    network = load_backbone(backbone)
    with torch.no_grad():
        network.network.pos_embed.fill_(3e38)  # finite, as weights have to be
    meta = json.loads((backbone / "meta.json").read_text())
    save_backbone(scratch_root / "nan", network, "dino_vit", meta["architecture"])
    with pytest.raises(UserError, match="boxes: image 0: lost_box: the key of patch 0 is not finite"):
        annotate(boxes_config(), Listed((8, 8)), scratch_root / "nan", 0)
