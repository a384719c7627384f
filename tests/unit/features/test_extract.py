import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfguide.backbone.artifact import load_backbone, save_backbone
from selfguide.backbone.registry import VARIANTS
from selfguide.clusters.artifact import Clusters
from selfguide.core.artifact import read_meta, save_array, write_meta
from selfguide.core.errors import UserError
from selfguide.core.target import replacing
from selfguide.features.artifact import Features
from selfguide.features.config import FeaturesConfig
from selfguide.features.extract import check_features, extract_features, load_frozen, run_network
from selfguide.images.artifact import ImageSet, ImageSplit, load_pixels
from tests.conftest import HANGS
from tests.unit.backbone.configs import backbone_config

CONFIG = FeaturesConfig(batch_size=4, precision="32-true")


@pytest.fixture
def backbone(scratch_root):
    torch.manual_seed(0)
    architecture = {"input_size": 8, "width": 4}
    save_backbone(scratch_root / "bb", VARIANTS["simclr_resnet18"].build(architecture), "simclr_resnet18", architecture)
    return scratch_root / "bb"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), dtype=np.uint8)


def test_row_i_is_the_feature_of_image_i(scratch_root, backbone, pixels):
    extract_features(CONFIG, pixels, backbone, scratch_root / "out")
    loaded = Features.load(scratch_root / "out")
    found, network = loaded.features, load_backbone(backbone)
    expected = torch.cat([network(torch.from_numpy(pixels[i : i + 1])) for i in range(11)])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)
    assert loaded.backbone == f"simclr_resnet18 {read_meta(backbone, 'backbone', 'backbone')['digest']}"
    assert not list((scratch_root / ".scratch").rglob("*.npy"))


def test_folded_batch_norms_change_rounding_alone(backbone):
    pixels = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = load_backbone(backbone)
    statistics = torch.Generator().manual_seed(1)
    for module in plain.modules():  # as if trained
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 2, generator=statistics)
    save_backbone(backbone, plain, "simclr_resnet18", {"input_size": 8, "width": 4})
    folded = load_frozen(backbone)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(pixels), plain(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 4, 300])
def test_pieces_and_threads_leave_no_trace(backbone, size):
    network = load_frozen(backbone)
    network.preprocessing = replace(network.preprocessing, input_size=None)
    images = torch.randint(0, 256, (size, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(run_network(network, images))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found[0], network(images), rtol=1e-4, atol=1e-5)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_equal_inputs_give_equal_bytes(scratch_root, backbone, pixels):
    for name in "ab":
        extract_features(CONFIG, pixels, backbone, scratch_root / name)
    for file in (scratch_root / "a").iterdir():
        assert file.read_bytes() == (scratch_root / "b" / file.name).read_bytes()


def test_half_precision_is_stored_as_float32(scratch_root, backbone, pixels):
    extract_features(CONFIG, pixels, backbone, scratch_root / "full")
    half = FeaturesConfig(batch_size=4, precision="bf16-mixed")
    extract_features(half, pixels, backbone, scratch_root / "half")
    full, rounded = (Features.load(scratch_root / name).features for name in ("full", "half"))
    assert rounded.dtype == np.float32
    assert not np.array_equal(full, rounded)
    np.testing.assert_allclose(rounded, full, rtol=0.1, atol=0.02)


def test_equal_images_are_an_error_that_says_so(scratch_root, backbone, pixels):
    with pytest.raises(UserError, match="every image has the same feature"):
        extract_features(CONFIG, np.repeat(pixels[:1], 8, axis=0), backbone, scratch_root / "out")
    assert not (scratch_root / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(value):
    features = np.ones((7, 3), np.float32)
    features[5, 1] = value
    with pytest.raises(UserError, match=r"image 5 is not finite \(1 of 7 rows"):
        check_features(features)


def test_a_single_image_is_not_called_constant():
    check_features(np.ones((1, 3), np.float32))


def test_missing_backbone_names_the_stage(scratch_root, pixels):
    with pytest.raises(UserError, match="dvc repro backbone"):
        extract_features(CONFIG, pixels, scratch_root / "none", scratch_root / "out")


def test_missing_and_truncated_features_name_the_stage(tmp_path):
    with pytest.raises(UserError, match="dvc repro features"):
        Features.load(tmp_path / "none")
    with replacing(tmp_path / "f", "features") as folder:
        save_array(folder / "features.npy", np.zeros((3, 2), np.float32))
        write_meta(folder, "features", num_images=4, width=2)
    with pytest.raises(UserError, match=r"expected float32 \(4, 2\), found float32 \(3, 2\)"):
        Features.load(tmp_path / "f")


def test_true_labels_leave_no_trace(scratch_root, pixels):
    """The self-annotation promise: permuted labels, the same bytes from the backbone to the clusters."""
    from selfguide.backbone.prepare import prepare_backbone
    from selfguide.clusters.kmeans import kmeans

    labels = np.arange(11, dtype=np.int32) % 3
    for name, true in (("one", labels), ("two", labels[::-1].copy())):
        root = scratch_root / name
        split = ImageSplit(pixels, labels=true, boxes=None, masks=None)
        ImageSet(split, None, ("a", "b", "c"), source="arrays", num_skipped=0).save(root / "images")
        seen = load_pixels(root / "images")
        prepare_backbone(backbone_config(width=4, epochs=1), seen, 0, root / "backbone", root / "curve.csv")
        extract_features(CONFIG, seen, root / "backbone", root / "features")
        features = Features.load(root / "features")
        found = kmeans(features.features, 3, 0, num_iterations=5, num_redo=1, max_points_per_centroid=None)
        clusters = Clusters(found.ids, found.centroids, found.sizes, 3, found.inertia, 0, features.backbone)
        clusters.save(root / "clusters", features=features.digest)
    one, two = scratch_root / "one", scratch_root / "two"
    assert (one / "images/train_labels.npy").read_bytes() != (two / "images/train_labels.npy").read_bytes()
    for artifact in ("backbone", "features", "clusters"):
        assert json.loads((one / artifact / "meta.json").read_text())
        for file in (one / artifact).iterdir():
            assert file.read_bytes() == (two / artifact / file.name).read_bytes(), file


RANKS = """
from pathlib import Path
import numpy as np
from selfguide.features.config import FeaturesConfig
from selfguide.features.extract import extract_features
pixels = np.load("pixels.npy", mmap_mode="r")
extract_features(FeaturesConfig(batch_size=2, precision="32-true"), pixels, Path("bb"), Path("out"))
"""


@pytest.mark.slow
def test_two_ranks_write_the_bytes_of_one(scratch_root, backbone, pixels):
    np.save("pixels.npy", pixels)
    Path("main.py").write_text(RANKS)
    written = []
    for ranks in ("1", "2"):
        environment = {**os.environ, "SELFGUIDE_DEVICES": ranks, "SELFGUIDE_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "main.py"], env=environment, check=True, capture_output=True, timeout=HANGS)
        written.append([(p.name, p.read_bytes()) for p in sorted(Path("out").iterdir())])
    assert written[0] == written[1]
