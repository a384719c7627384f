"""data/patches: features of views, as a direct pass of the network gives them."""

import numpy as np
import pytest
import torch

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.patches import PatchReader
from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSet, ImageSplit
from selfguide.patches.artifact import PatchSet
from selfguide.patches.extract import extract_patches
from selfguide.patches.views import crop_window
from tests.unit.boxes.conftest import Listed
from tests.unit.patches.conftest import SIZES, extracted, patches_config


def direct(backbone, images, kind="tokens", input_size=None):
    """Features of images, each read alone: a list of (rows, columns, D), and their layouts."""
    network, cpu, found = load_backbone(backbone), torch.device("cpu"), []
    for image in images:
        listed = Listed()
        listed.images, listed.num_reads = [image], [0]
        (patches,) = PatchReader(network, listed, kind, input_size, "test").read(0, 1, cpu).patches
        found.append((patches.features.reshape(*patches.grid, -1), patches))
    return found


def views_of(images):
    whole, crops = [*images], []
    for number in range(5):
        for image in images:
            y0, y1, x0, x1 = crop_window(image.shape[:2], number)
            crops.append(image[y0:y1, x0:x1])
    return [*whole, *(image[:, ::-1].copy() for image in images), *crops]


@pytest.mark.parametrize(
    ("kind", "crops", "input_size"), [("tokens", "none", None), ("keys", "none", 20), ("tokens", "five", 20)]
)
def test_features_are_those_of_a_direct_read(scratch_root, backbone, originals, kind, crops, input_size):
    patches = extracted(backbone, "patches", kind=kind, crops=crops, input_size=input_size)
    expected = direct(backbone, views_of(originals.images)[: (7 if crops == "five" else 2) * 5], kind, input_size)
    assert (patches.num_images, patches.width, patches.features.dtype) == (5, 8, np.float16)
    assert patches.grids.grids.reshape(-1, 2).tolist() == [list(each.grid) for _, each in expected]
    assert patches.grids.scales.tolist() == [list(each.scales) for _, each in expected[:5]]
    assert patches.grids.sizes.tolist() == [list(size) for size in SIZES]
    for number, (features, _) in enumerate(expected):
        own = patches.vectors(number)
        np.testing.assert_allclose(own, features.reshape(-1, 8), atol=2e-3)
        maps, grids = patches.maps(np.array([number]))
        assert grids.tolist() == [list(features.shape[:2])]
        assert maps.dtype == torch.float32
        np.testing.assert_array_equal(maps[0].permute(1, 2, 0).reshape(-1, 8), own)
    numbers = np.array([1, 4, 0, 9])
    maps, grids = patches.maps(numbers)
    assert maps.shape[2:] == tuple(grids.amax(dim=0).tolist())
    for whole, (rows, columns), number in zip(maps, grids.tolist(), numbers, strict=True):
        np.testing.assert_allclose(whole[:, :rows, :columns].permute(1, 2, 0), expected[number][0], atol=2e-3)
        assert not whole[:, rows:].any()
        assert not whole[:, :, columns:].any()


def test_each_image_is_read_by_view_and_windows_share_it(scratch_root, backbone, originals):
    patches = extracted(backbone, "patches", crops="five")
    assert originals.num_reads == [7] * 5
    assert patches.training.tolist() == list(range(10, 35))  # the crops
    assert patches.grids.images.tolist() == [0, 1, 2, 3, 4, 1]
    assert patches.grids.windows[5].tolist() == [2, 3, 14, 15]


def test_samples_of_patches_are_patches(scratch_root, backbone, originals):
    patches = extracted(backbone, "patches")
    assert patches.training.tolist() == list(range(5))
    every = {each.tobytes() for number in range(5) for each in patches.vectors(number).astype(np.float32)}
    for most, num in ((10**6, sum(len(patches.vectors(i)) for i in range(5))), (10, 10), (3, 3)):
        sample = patches.sample(most, np.random.default_rng(0))
        assert sample.dtype == np.float32
        assert len(sample) == num
        assert {each.tobytes() for each in sample} <= every
        np.testing.assert_array_equal(sample, patches.sample(most, np.random.default_rng(0)))


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def save_images(folder, pixels=PIXELS, labels=None):
    ImageSet(ImageSplit(pixels, labels, None), None, None if labels is None else ("a", "b"), "arrays", 0).save(folder)


def test_stored_images(scratch_root, backbone):
    save_images("images")
    patches = extracted(backbone, "patches")
    assert patches.grids.images.tolist() == list(range(6))
    assert patches.grids.windows.tolist() == [[0, 0, 16, 16]] * 6
    for number, (features, _) in enumerate(direct(backbone, views_of(PIXELS)[:12])):
        np.testing.assert_allclose(patches.vectors(number), features.reshape(-1, 8), atol=2e-3)


def test_labels_leave_no_trace_and_pixels_do(scratch_root, backbone):
    save_images("one", labels=np.array([0, 1, 0, 1, 0, 1], np.int32))
    save_images("two", labels=np.array([1, 0, 0, 1, 0, 1], np.int32))
    save_images("three", PIXELS[::-1].copy())
    for name in ("one", "two", "three"):
        extract_patches(patches_config(), None, 0, name, backbone, f"{name}_patches")
    for file in (scratch_root / "one_patches").iterdir():
        assert file.read_bytes() == (scratch_root / "two_patches" / file.name).read_bytes(), file
    assert PatchSet.load("one_patches").digest != PatchSet.load("three_patches").digest


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_features_that_float16_cannot_hold(scratch_root, backbone, monkeypatch):
    save_images("images")

    def huge(network, images, kind):
        return torch.full((len(images), 16, 8), 1e5)

    monkeypatch.setattr("selfguide.backbone.patches.patch_features", huge)
    with pytest.raises(UserError, match=r"not finite in float16.*patches\.precision 32-true"):
        extract_patches(patches_config(), None, 0, "images", backbone, "patches")
    assert not (scratch_root / "patches").exists()


def test_a_network_without_such_features(scratch_root, backbone):
    save_images("images")
    with pytest.raises(UserError, match="no map of features"):
        extract_patches(patches_config(kind="map"), None, 0, "images", backbone, "patches")


def test_missing_patches_name_the_stage(scratch_root):
    with pytest.raises(UserError, match="dvc repro patches"):
        PatchSet.load("none")
