"""From images to masks by all methods, small: on disk, again, and in other images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from selfguide.backbone.artifact import save_backbone
from selfguide.backbone.patches import Stored
from selfguide.backbone.registry import VARIANTS
from selfguide.core.errors import UserError
from selfguide.core.palette import PALETTE
from selfguide.images.artifact import ImageSet, ImageSplit
from selfguide.masks import find, train
from selfguide.masks.annotator import load_annotator, save_segmentation
from selfguide.masks.artifact import FoundMasks
from selfguide.masks.build import build_masks
from selfguide.masks.find import as_map, find_masks
from selfguide.masks.measure import measure
from selfguide.masks.metrics import fixed_scores
from selfguide.masks.picture import draw_masks
from selfguide.masks.registry import METHODS
from selfguide.masks.segment import classes
from selfguide.masks.segmenter import SegmenterArtifact
from selfguide.masks.spherical import refit
from selfguide.masks.stego import Stego
from selfguide.masks.train import fit
from selfguide.patches.artifact import PatchSet
from selfguide.patches.extract import extract_patches
from selfguide.patches.neighbours import Neighbours, find_neighbours
from tests.conftest import reseal
from tests.unit.boxes.conftest import ARCHITECTURE, Listed, backbone  # noqa: F401 (a fixture)
from tests.unit.masks.conftest import masks_config, segmenter_config
from tests.unit.patches.conftest import extracted, originals, patches_config  # noqa: F401 (a fixture)

N, SIDE, K = 12, 16, 3
PIXELS = np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
PIXELS[:, :8] //= 4  # halves that differ


def save_images(folder, seed=0):
    generator = np.random.default_rng(seed)
    split = ImageSplit(
        PIXELS, generator.integers(0, 2, N).astype(np.int32), None,
        generator.integers(0, 2, (N, SIDE, SIDE)).astype(np.uint8),
    )  # fmt: skip
    ImageSet(split, None, ("a", "b"), "arrays", 0, mask_names=("c", "d")).save(folder)


def prepare(made_by, images, seed=0):
    save_images(images, seed)
    extract_patches(patches_config(), None, 0, images, made_by, f"{images}_patches")
    found = PatchSet.load(f"{images}_patches")
    find_neighbours(found, f"{images}_neighbours")
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A backbone, images, their patches and neighbours, made once."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        patch.chdir(folder)
        torch.manual_seed(0)
        save_backbone(folder / "bb", VARIANTS["dino_vit"].build(ARCHITECTURE), "dino_vit", ARCHITECTURE)
        prepare(folder / "bb", "images")
    return folder


@pytest.fixture
def patches(scratch_root, prepared):
    shutil.copytree(prepared, scratch_root, dirs_exist_ok=True)
    return PatchSet.load("images_patches")


def fitted(patches, out, name, seed=0, images="images", **changes):
    neighbours = Neighbours.load(f"{images}_neighbours")
    fit(patches, neighbours, segmenter_config(name, **changes), seed, out)
    return out


def weights(folder):
    with open(f"{folder}/weights.safetensors", "rb") as file:
        return file.read()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", METHODS)
def test_masks_of_the_training_images_are_found_again(patches, name):
    config = masks_config(name, max_patches=100)
    fitted(patches, "segmenter", name, max_patches=100)
    found = build_masks(config, patches, "segmenter", Stored(PIXELS), SIDE, "masks")
    loaded = FoundMasks.load("masks")
    np.testing.assert_array_equal(loaded.masks, found.masks)
    assert (loaded.masks.dtype, loaded.masks.shape) == (np.uint8, (N, SIDE, SIDE))
    assert (loaded.num_classes, loaded.size, loaded.method) == (K, SIDE, name)
    assert loaded.backbone == patches.backbone
    assert len(np.unique(loaded.masks)) > 1
    assert ((loaded.confidence > 1 / K) & (loaded.confidence <= 1)).all()
    save_segmentation("annotator", "bb", "segmenter", loaded.settings)
    assert load_annotator("annotator").masks == config
    again, num = find_masks("annotator", PIXELS)
    assert num == K
    np.testing.assert_array_equal(again, loaded.masks)
    alone, _ = find_masks("annotator", PIXELS[5:6])
    np.testing.assert_array_equal(alone[0], loaded.masks[5])


def test_other_images_are_seen_as_the_kept_ones(patches, monkeypatch):
    fitted(patches, "segmenter", "kmeans_patches")
    settings = {"patches": patches.meta["config"], "masks": masks_config("kmeans_patches").model_dump(mode="json")}
    save_segmentation("annotator", "bb", "segmenter", settings)
    seen = []
    monkeypatch.setattr(find, "classes", lambda *arguments: seen.append(arguments[1]) or classes(*arguments))
    find_masks("annotator", PIXELS)
    maps, _ = patches.maps(np.arange(2 * N))
    assert torch.equal(torch.cat([each.whole for each in seen]), maps[:N])  # rounded alike
    assert torch.equal(torch.cat([each.mirror for each in seen]), maps[N:])


@pytest.mark.parametrize("name", ["stego", "smooseg"])
def test_the_same_seed_gives_the_same_bytes(patches, name):
    one = weights(fitted(patches, "one", name))
    torch.randn(5)  # what others draw does not count
    assert weights(fitted(patches, "two", name)) == one
    assert weights(fitted(patches, "three", name, seed=1)) != one
    curve = SegmenterArtifact.load("one").meta["curve"]
    assert [step for step, _ in curve] == [4]


@pytest.mark.parametrize("name", ["stego", "smooseg"])
@pytest.mark.parametrize("killed_at", [2, 4])
def test_a_killed_training_resumes_to_the_same_bytes(patches, monkeypatch, name, killed_at):
    whole = weights(fitted(patches, "whole", name, max_steps=5))
    step, steps = train._Training.training_step, []

    def killed(self, counter, batch_idx):
        if self.global_step == killed_at:
            raise RuntimeError("killed")
        return step(self, counter, batch_idx)

    def counted(self, counter, batch_idx):
        steps.append(self.global_step)
        return step(self, counter, batch_idx)

    monkeypatch.setattr(train._Training, "training_step", killed)
    with pytest.raises(RuntimeError, match="killed"):
        fitted(patches, "resumed", name, max_steps=5)
    monkeypatch.setattr(train._Training, "training_step", counted)
    assert weights(fitted(patches, "resumed", name, max_steps=5)) == whole
    assert steps == list(range(killed_at, 5))


def test_true_labels_and_masks_leave_no_trace(scratch_root, patches):
    for name, found in (("images", patches), ("others", prepare("bb", "others", 1))):
        fitted(found, f"{name}_segmenter", "stego", images=name)
        build_masks(masks_config("stego"), found, f"{name}_segmenter", Stored(PIXELS), SIDE, f"{name}_masks")
    assert files(scratch_root / "images") != files(scratch_root / "others")
    for part in ("patches", "neighbours", "segmenter", "masks"):
        assert files(scratch_root / f"images_{part}") == files(scratch_root / f"others_{part}")


def test_training_moves_the_head_and_the_clusters(patches):
    one, two = (
        SegmenterArtifact.load(fitted(patches, f"{steps}", "stego", max_steps=steps)).segmenter.state_dict()
        for steps in (1, 6)
    )
    assert all(not torch.equal(one[key], two[key]) for key in one if key != "mean")


@pytest.mark.parametrize("name", ["stego", "kmeans_patches"])
def test_the_mean_is_of_all_patches(patches, name):
    loaded = SegmenterArtifact.load(fitted(patches, "segmenter", name, subtract_mean=True)).segmenter
    every = np.concatenate([patches.vectors(i) for i in range(N)]).astype(np.float64)
    np.testing.assert_allclose(loaded.mean.numpy(), every.mean(axis=0), atol=1e-5)
    plain = SegmenterArtifact.load(fitted(patches, "plain", name)).segmenter
    assert not plain.mean.any()


def test_principal_components(patches):
    loaded = SegmenterArtifact.load(fitted(patches, "segmenter", "pca", width=2, subtract_mean=True)).segmenter
    every = np.concatenate([patches.vectors(i) for i in range(N)]).astype(np.float64)
    axes = np.linalg.svd(every - every.mean(axis=0))[2][:2]
    found = loaded.code.linear.weight.detach()[:, :, 0, 0].numpy()
    np.testing.assert_allclose(np.abs((found * axes).sum(axis=1)), 1, atol=1e-3)
    with pytest.raises(UserError, match=r"masks\.segmenter\.width: expected at most 8.*found 9"):
        fitted(patches, "wide", "pca", width=9)


def test_k_means_gives_each_patch_its_nearest_cluster(patches):
    loaded = SegmenterArtifact.load(fitted(patches, "segmenter", "kmeans_patches")).segmenter
    maps, _ = patches.maps(np.arange(N))
    found = loaded.log_probabilities(loaded(maps).permute(0, 2, 3, 1)).argmax(dim=-1)
    vectors = maps.permute(0, 2, 3, 1).reshape(-1, 8).numpy()
    clusters = loaded.clusters.numpy()
    similar = (vectors @ clusters.T) / np.linalg.norm(vectors, axis=1, keepdims=True) / np.linalg.norm(clusters, axis=1)
    np.testing.assert_array_equal(found.reshape(-1).numpy(), similar.argmax(axis=1))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = (unit @ clusters.T).argmax(axis=1)
    for k in range(K):  # a fixed point of spherical k-means: each points to where the mean of its own does
        mean = unit[nearest == k].mean(axis=0)
        np.testing.assert_allclose(clusters[k], mean / np.linalg.norm(mean), atol=1e-4)


@pytest.mark.parametrize("name", ["stego", "smooseg"])
def test_clusters_are_refitted_to_the_trained_codes(patches, name):
    before = SegmenterArtifact.load(fitted(patches, "probe", name)).segmenter
    after = SegmenterArtifact.load(fitted(patches, "refitted", name, refit_clusters=True)).segmenter
    for key, value in before.code.state_dict().items():
        assert torch.equal(after.code.state_dict()[key], value)
    maps, _ = patches.maps(np.arange(N))
    codes = torch.nn.functional.normalize(before(maps).permute(0, 2, 3, 1).reshape(-1, 4), dim=1).numpy()
    expected = torch.nn.functional.normalize(before.clusters, dim=1).numpy()
    for _ in range(50):
        nearest = (codes @ expected.T).argmax(axis=1)
        assert len(np.unique(nearest)) == K
        sums = np.stack([codes[nearest == k].sum(axis=0) for k in range(K)])
        expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(after.clusters.numpy(), expected, atol=1e-4)


def test_clusters_of_a_collapsed_head_stay(patches):
    class Constant(torch.nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return torch.ones_like(maps[:, :4])

    clusters = torch.eye(4)[:3]
    found = refit(Constant(), clusters, patches, torch.zeros(8), segmenter_config("stego"), 0)
    assert torch.equal(found, clusters)


def test_features_of_other_images_that_are_too_large_stay_finite():
    found = as_map(np.array([[1e6, -1e6], [1.0, 2.0]], np.float32), (1, 2), torch.device("cpu"))
    assert found.tolist() == [[[[65504.0, 1.0]], [[-65504.0, 2.0]]]]


@pytest.mark.parametrize("name", ["kmeans_patches", "pca", "primaps"])
def test_more_classes_than_patches(patches, name):
    with pytest.raises(UserError, match=r"masks\.segmenter\.num_classes: "):
        fitted(patches, "segmenter", name, num_classes=200)


def test_a_segmenter_of_another_backbone(scratch_root, patches):
    config = masks_config("kmeans_patches")
    fitted(patches, "segmenter", "kmeans_patches")
    path = Path("segmenter/meta.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"backbone": "dino_vit other"}))
    reseal(path.parent)
    with pytest.raises(UserError, match="segmenter: fitted on features of dino_vit other.*; run `dvc repro segmenter`"):
        build_masks(config, patches, "segmenter", Stored(PIXELS), SIDE, "masks")
    with pytest.raises(UserError, match="segmenter: fitted on features of dino_vit other"):
        save_segmentation("annotator", "bb", "segmenter", {})
    assert not {"masks", "annotator"} & {each.name for each in scratch_root.iterdir()}


def test_neighbours_of_other_patches(patches):
    with pytest.raises(UserError, match="neighbours: made of other patches.*run `dvc repro neighbours`"):
        fit(patches, Neighbours(np.zeros((N, 1), np.int32), "other"), segmenter_config("stego"), 0, "segmenter")


def test_a_loss_that_is_not_finite(scratch_root, patches, monkeypatch):
    whole = Stego.forward
    monkeypatch.setattr(Stego, "forward", lambda self, batch: whole(self, batch) * torch.nan)
    with pytest.raises(UserError, match=r"the loss is nan at step 4.*lower masks\.segmenter\.learning_rate"):
        fitted(patches, "segmenter", "stego")
    assert not (scratch_root / "segmenter").exists()


def test_a_damaged_segmenter(scratch_root, patches):
    fitted(patches, "segmenter", "kmeans_patches")
    (scratch_root / "segmenter/weights.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="dvc repro segmenter"):
        SegmenterArtifact.load("segmenter")
    with pytest.raises(UserError, match="dvc repro segmenter"):
        SegmenterArtifact.load("none")


def test_stego_of_one_image(scratch_root, patches):
    near = Neighbours(np.empty((1, 0), np.int32), patches.digest)
    with pytest.raises(UserError, match="expected at least 2 images"):
        fit(patches, near, segmenter_config("stego"), 0, "segmenter")


@pytest.mark.parametrize(("crops", "name"), [("none", "stego"), ("five", "kmeans_patches")])
def test_windows_of_images_of_many_sizes(scratch_root, backbone, originals, crops, name):  # noqa: F811
    patches = extracted(backbone, "patches", crops=crops)
    find_neighbours(patches, "images_neighbours")
    fitted(patches, "segmenter", name, num_samples=2, subtract_mean=True)
    found = build_masks(masks_config(name), patches, "segmenter", Listed((1, 1)), 8, "masks")
    assert found.masks.shape == (6, 8, 8)
    # Image 1 has two windows: the first of the images' own, and the last of all.
    segmenter = SegmenterArtifact.load("segmenter").segmenter
    whole, mirror = (segmenter(patches.maps(np.array([number]))[0])[0] for number in (1, 6))
    expected = np.zeros((2, 8, 8), np.uint8)
    for row, (x0, y0, side) in enumerate(((0, 0, 16), (2, 3, 12))):
        for i, j in np.ndindex(8, 8):
            y, x = y0 + (i + 0.5) * side / 8, x0 + (j + 0.5) * side / 8
            code = (at(whole, y, x) + at(mirror, y, 18 - x)) / 2
            similar = torch.nn.functional.cosine_similarity(code[None], segmenter.clusters, dim=1)
            expected[row, i, j] = int(similar.argmax())
    assert (expected[0] != expected[1]).any()  # else the two could be taken for each other
    np.testing.assert_array_equal(found.masks[[1, 5]], expected)


def at(code, y, x, patch=4):
    """Of (d, rows, columns), between the centres of patches."""
    rows, columns = code.shape[1:]
    y, x = min(max(y / patch - 0.5, 0), rows - 1), min(max(x / patch - 0.5, 0), columns - 1)
    total = torch.zeros(len(code))
    for row, column in np.ndindex(rows, columns):
        total += max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column)) * code[:, row, column]
    return total


def halves(folder):
    """Images whose true classes are their halves, the first with a void row."""
    truth = np.zeros((N, SIDE, SIDE), np.uint8)
    truth[:, SIDE // 2 :] = 1
    truth[0, 0] = 255
    ImageSet(ImageSplit(PIXELS, masks=truth), None, None, "arrays", 0, mask_names=("dark", "light")).save(folder)
    return ImageSet.load(folder)


def test_the_stages_metrics_and_picture(patches):
    fitted(patches, "segmenter", "kmeans_patches", num_classes=2)
    build_masks(masks_config("kmeans_patches", num_classes=2), patches, "segmenter", Stored(PIXELS), SIDE, "masks")
    images, found = halves("halves"), FoundMasks.load("masks")
    scores, assignment = measure(found, patches, "segmenter", images, 0)
    truth = images.train.masks
    agreement = (found.masks == truth)[truth != 255].mean()
    assert scores["mask_accuracy"] == pytest.approx(max(agreement, 1 - agreement))
    assert scores["mask_linear_accuracy"] > 0.9  # halves differ in brightness
    assert scores["mask_classes_present"] == scores["mask_clusters_used"] == 2
    assert 0.5 <= scores["mask_largest_cluster"] <= 1
    assert 0.5 <= scores["mask_confidence"] <= 1
    assert sorted(assignment) == [0, 1]
    unknown = ImageSet(ImageSplit(PIXELS), None, None, "arrays", 0)
    alone, none = measure(found, patches, "segmenter", unknown, 0)
    assert none is None
    assert alone.keys() == {"mask_confidence", "mask_clusters_used", "mask_largest_cluster"}
    void = ImageSet(ImageSplit(PIXELS, masks=np.full_like(truth, 255)), None, None, "arrays", 0, ("dark", "light"))
    assert measure(found, patches, "segmenter", void, 0) == (alone, None)
    with pytest.raises(UserError, match="12 masks, data/images has 3 images"):
        measure(found, patches, "segmenter", ImageSet(ImageSplit(PIXELS[:3]), None, None, "arrays", 0), 0)

    picture = np.asarray(draw_masks(PIXELS, found.masks, truth, images.mask_names, assignment, 4))
    tile, first = SIDE * 6 + 2, picture.shape[1] - 4 * (SIDE * 6 + 2)  # 96 pixels a tile, and words before them
    where = assignment[found.masks[0]]
    for row, colours in ((1, PALETTE[where]), (2, PALETTE[truth[0]])):
        shown = picture[row * tile + 2 : (row + 1) * tile : 6, first : first + SIDE * 6 : 6][:SIDE, :SIDE]
        np.testing.assert_array_equal(shown, colours)
    assert draw_masks(PIXELS, found.masks, None, None, None, 4).size[1] < len(picture)


def test_classes_that_are_the_same_on_both_sides():
    found = fixed_scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert found.accuracy == 7 / 8
    assert found.miou == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert np.isnan(fixed_scores(np.zeros((2, 2), int)).miou)
