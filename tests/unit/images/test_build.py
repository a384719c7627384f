import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.images import image_folder
from selfguide.images.annotated import AnnotatedImage, AnnotatedImages
from selfguide.images.artifact import ImageSet, load_rows
from selfguide.images.build import build as build_into
from selfguide.images.decode import FaultError
from tests.unit.images.conftest import build, encode, shade, shades, solid, tree


@pytest.fixture
def hundred(tmp_path):
    return str(tree(tmp_path / "in", {f"{i % 4}/{i}.png": shade(i) for i in range(100)}))


def test_null_takes_everything(hundred, config):
    images = build(config(path=hundred), seed=0)
    assert images.heldout is None
    assert sorted(shades(images.train.pixels)) == list(range(100))
    np.testing.assert_array_equal(images.train.labels, np.array(shades(images.train.pixels)) % 4)


def test_split_is_disjoint_and_random(hundred, config):
    images = build(config(path=hundred, num_heldout=30), seed=0)
    train, heldout = shades(images.train.pixels), shades(images.heldout.pixels)
    assert sorted(train + heldout) == list(range(100))
    assert len(heldout) == 30
    assert train != sorted(train)


def test_a_larger_subset_extends_a_smaller_one(hundred, config):
    small = build(config(path=hundred, num_train=20, num_heldout=10), seed=0)
    large = build(config(path=hundred, num_train=50, num_heldout=20), seed=0)
    assert shades(large.train.pixels)[:20] == shades(small.train.pixels)
    assert shades(large.heldout.pixels)[:10] == shades(small.heldout.pixels)


def test_only_the_chosen_images_are_decoded(hundred, config, monkeypatch):
    decoded = Counter()

    def counting(data, max_pixels):
        decoded["images"] += 1
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(image_folder, "decode", counting)
    build(config(path=hundred, num_train=7, num_heldout=3), seed=0)
    assert decoded["images"] == 10


def test_too_many_asked_for(hundred, config):
    with pytest.raises(UserError, match=r"num_train \+ images.num_heldout: 101 asked for, .* holds 100 images"):
        build(config(path=hundred, num_train=100, num_heldout=1), seed=0)
    with pytest.raises(UserError, match="101 asked for"):
        build(config(path=hundred, num_heldout=100), seed=0)


def test_too_many_held_out_asked_for(hundred, config, tmp_path):
    other = str(tree(tmp_path / "other", {"1.png": shade(1)}))
    with pytest.raises(UserError, match=r"images\.num_heldout: 2 asked for, .*other holds 1 images"):
        build(config(path=hundred, heldout_path=other, num_heldout=2), seed=0)


@pytest.fixture
def damaged(tmp_path):
    """20 good files, 4 bad ones."""
    jpeg = encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)), "JPEG")
    bad = {"b/cut.jpg": jpeg[: len(jpeg) // 2], "b/text.jpg": b"hello", "c/empty.png": b"", "c/cut.png": shade(1)[:40]}
    return str(tree(tmp_path / "in", {**{f"a/{i}.png": shade(i) for i in range(20)}, **bad}))


def test_all_unreadable_files_are_named(damaged, config):
    with pytest.raises(UserError) as error:
        build(config(path=damaged, num_heldout=12), seed=0)
    message = str(error.value)
    assert "4 unreadable files" in message
    assert all(f"{damaged}/{name}: " in message for name in ("b/cut.jpg", "b/text.jpg", "c/empty.png", "c/cut.png"))
    assert f"{damaged}/b/text.jpg: not an image" in message
    assert "images.unreadable to skip" in message


def test_unreadable_files_are_skipped_and_counted(damaged, config, caplog):
    images = build(config(path=damaged, unreadable="skip"), seed=0)
    assert images.num_skipped == 4
    assert sorted(shades(images.train.pixels)) == list(range(20))
    assert "skipped 4 unreadable files" in caplog.text


def test_a_file_of_too_many_pixels_is_unreadable(damaged, config):
    tree(Path(damaged), {"a/big.png": shade(99, (10, 8))})
    with pytest.raises(
        UserError, match=r"big\.png: expected at most 64 pixels, found 10 x 8 = 80; raise images\.max_p"
    ):
        build(config(path=damaged, max_pixels=64), seed=0)
    images = build(config(path=damaged, max_pixels=64, unreadable="skip"), seed=0)
    assert images.num_skipped == 5
    assert sorted(shades(images.train.pixels)) == list(range(20))


def test_the_same_limit_holds_for_annotated_images():
    entry = AnnotatedImage("big.png", lambda: shade(9, (10, 8)), np.zeros(0, np.int32), np.zeros((0, 4)))
    assert AnnotatedImages("x", [entry], ["cat"], 1, 80).original(0).size == (10, 8)
    with pytest.raises(FaultError, match=r"found 10 x 8 = 80; raise images\.max_pixels"):
        AnnotatedImages("x", [entry], ["cat"], 1, 79).original(0)


@pytest.mark.parametrize("seed", range(5))
def test_skipped_files_are_replaced(damaged, config, seed):
    images = build(config(path=damaged, unreadable="skip", num_train=14, num_heldout=6), seed=seed)
    assert sorted(shades(images.train.pixels) + shades(images.heldout.pixels)) == list(range(20))
    assert (len(images.train), len(images.heldout)) == (14, 6)
    assert images.num_skipped <= 4  # one behind the last image taken is never looked at


@pytest.mark.parametrize("chunk", [1, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_the_size_of_a_chunk_changes_nothing(damaged, config, tmp_path, monkeypatch, chunk, seed):
    section = config(path=damaged, unreadable="skip", num_train=12, num_heldout=5)
    build_into(section, seed, tmp_path / "whole")
    monkeypatch.setattr("selfguide.images.build._CHUNK_BYTES", 1)
    monkeypatch.setattr("selfguide.images.build._CHUNK_IMAGES", chunk)
    build_into(section, seed, tmp_path / "chunks")
    assert (tmp_path / "chunks/meta.json").read_text() == (tmp_path / "whole/meta.json").read_text()


def test_classes_of_held_out_images_are_merged_chunk_by_chunk(config, tmp_path, monkeypatch):
    monkeypatch.setattr("selfguide.images.build._CHUNK_BYTES", 1)
    monkeypatch.setattr("selfguide.images.build._CHUNK_IMAGES", 2)
    train = str(tree(tmp_path / "in", {f"{'bd'[i % 2]}/{i}.png": shade(100 + i) for i in range(6)}))
    heldout = {f"{'abcd'[i % 4]}/{i}.png": shade(i) for i in range(8)} | {"9.png": shade(9)}
    other = str(tree(tmp_path / "other", heldout))
    images = build(config(path=train, heldout_path=other, num_heldout=9), seed=0)
    assert images.class_names == ("b", "d", "a", "c")
    expected = [-1 if value == 9 else [2, 0, 3, 1][value % 4] for value in shades(images.heldout.pixels)]
    assert images.heldout.labels.tolist() == expected


def test_memory_does_not_grow_with_the_number_of_images(config, tmp_path, monkeypatch):
    monkeypatch.setattr("selfguide.images.build._CHUNK_BYTES", 1 << 18)
    np.save(tmp_path / "x.npy", np.zeros((5000, 32, 32, 3), np.uint8))
    tracemalloc.start()
    images = build(config(source="arrays", path=str(tmp_path / "x.npy"), size=32), seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.train.pixels.nbytes / 5


def test_nothing_is_left_of_a_failed_build(damaged, config, tmp_path):
    with pytest.raises(UserError):
        build_into(config(path=damaged), 0, tmp_path / "out" / "images")
    assert list((tmp_path / "out").iterdir()) == []


def test_too_few_readable(damaged, config):
    with pytest.raises(UserError, match="num_train: 16 asked for, but only 15 of"):
        build(config(path=damaged, unreadable="skip", num_train=16, num_heldout=5), seed=0)


def test_crop(tmp_path, config):
    image = Image.new("RGB", (24, 8))
    image.paste(solid((255, 255, 255)), (8, 0))
    path = str(tree(tmp_path / "in", {"1.png": encode(image)}))
    assert build(config(path=path, crop="center"), seed=0).train.pixels.min() == 255
    assert build(config(path=path, crop="squash"), seed=0).train.pixels[0, 0, 0, 0] == 0


def gradient(i):
    """Each pixel says where it is, and the blue channel which image it is of."""
    y, x = np.mgrid[:20, :30]
    return encode(Image.fromarray(np.stack([8 * x, 8 * y, np.full_like(x, 5 * i)], axis=-1).astype(np.uint8)))


@pytest.fixture
def gradients(tmp_path):
    return str(tree(tmp_path / "in", {f"{i:02}.png": gradient(i) for i in range(30)}))


def test_rows_and_windows_say_where_each_image_comes_from(gradients, config, tmp_path):
    for crop in ("center", "squash", "random"):
        build_into(config(path=gradients, crop=crop, size=10, num_heldout=7), 0, tmp_path / crop)
        images = ImageSet.load(tmp_path / crop)
        rows, windows = load_rows(tmp_path / crop)
        assert (rows.dtype, rows.shape, windows.dtype, windows.shape) == (np.int64, (23,), np.int32, (23, 4))
        np.testing.assert_array_equal(images.train.pixels[:, 5, 5, 2], 5 * rows)
        middle = images.train.pixels[:, 4:6, 4:6, :2].mean(axis=(1, 2)) / 8 + 0.5
        np.testing.assert_allclose(middle, (windows[:, :2] + windows[:, 2:]) / 2, atol=0.35)
    assert len({tuple(window) for window in windows}) > 15
    assert not (tmp_path / "random" / "heldout_rows.npy").exists()


def test_views_are_other_crops_of_the_same_images(gradients, config, tmp_path):
    one = config(path=gradients, crop="random", size=10, num_train=8, num_heldout=7)
    build_into(one, 0, tmp_path / "one")
    build_into(one.model_copy(update={"num_views": 3}), 0, tmp_path / "three")
    first, all_views = ImageSet.load(tmp_path / "one"), ImageSet.load(tmp_path / "three")
    assert (len(all_views.train), len(all_views.heldout)) == (24, 7)
    np.testing.assert_array_equal(all_views.train.pixels[:8], first.train.pixels)
    np.testing.assert_array_equal(all_views.heldout.pixels, first.heldout.pixels)
    rows, windows = load_rows(tmp_path / "three")
    np.testing.assert_array_equal(rows, np.tile(rows[:8], 3))
    windows = windows.reshape(3, 8, 4)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (windows[a] != windows[b]).any(axis=1).mean() > 0.7


def test_a_larger_subset_of_random_crops_extends_a_smaller_one(gradients, config):
    small = build(config(path=gradients, crop="random", num_train=5), seed=0)
    large = build(config(path=gradients, crop="random", num_train=12), seed=0)
    np.testing.assert_array_equal(large.train.pixels[:5], small.train.pixels)
    other = build(config(path=gradients, crop="random", num_train=12), seed=1)
    assert (other.train.pixels != large.train.pixels).any()


def test_views_of_skipped_files(damaged, config, tmp_path):
    build_into(config(path=damaged, unreadable="skip", crop="random", num_views=2), 0, tmp_path / "out")
    images = ImageSet.load(tmp_path / "out")
    assert (len(images.train), images.num_skipped) == (40, 4)
    with pytest.raises(UserError, match="4 unreadable files"):
        build_into(config(path=damaged, crop="random", num_views=2), 0, tmp_path / "other")


KINDS = ["rgb", "grey", "alpha", "cmyk", "deep", "rotated", "animated", "palette", "webp", "bmp"]


def of_kind(kind: str, level: int) -> tuple[str, bytes]:
    """Extension and content of a file that shows one grey level."""
    grey = (level, level, level)
    sixteen = Image.fromarray(np.full((12, 12), level * 257, dtype=np.uint16))
    animation = {"save_all": True, "append_images": [solid((255, 0, 0))], "duration": 50}
    exif = Image.Exif()
    exif[0x0112] = 8
    return {
        "rgb": lambda: ("jpg", encode(solid(grey, (40, 30)), "JPEG", quality=95)),
        "grey": lambda: ("png", encode(solid(level, (9, 30), "L"))),
        "alpha": lambda: ("png", encode(solid((*grey, 255), mode="RGBA"))),
        "cmyk": lambda: ("jpeg", encode(solid((0, 0, 0, 255 - level), (16, 16), "CMYK"), "JPEG", quality=95)),
        "deep": lambda: ("tif", encode(sixteen, "TIFF")),
        "rotated": lambda: ("JPG", encode(solid(grey, (20, 10)), "JPEG", quality=95, exif=exif)),
        "animated": lambda: ("gif", encode(solid(grey), "GIF", **animation)),
        "palette": lambda: ("png", encode(solid(grey).quantize(2))),
        "webp": lambda: ("webp", encode(solid(grey, (50, 50)), "WEBP", lossless=True)),
        "bmp": lambda: ("bmp", encode(solid(grey), "BMP")),
    }[kind]()


def mixed_folder(root):
    """200 files: 198 of all kinds, each of its own grey level, a truncated one and a text."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    files = {"rgb/truncated.jpg": encode(noise, "JPEG")[:1000], "rgb/text.jpg": b"not an image at all"}
    for level in range(198):
        kind = KINDS[level % 10]
        extension, data = of_kind(kind, level)
        files[f"{kind}/{level}.{extension}"] = data
    return str(tree(root, files))


@pytest.mark.parametrize("root", ["mixed", "mixed.zip"])
def test_200_mixed_files(tmp_path, config, root):
    path = mixed_folder(tmp_path / root)
    with pytest.raises(UserError, match=r"2 unreadable files:\n.*rgb/text\.jpg: not an image\n.*rgb/truncated\.jpg: "):
        build(config(path=path), seed=0)
    images = build(config(path=path, unreadable="skip", size=16), seed=0)
    assert (len(images.train), images.num_skipped, len(images.class_names)) == (198, 2, 10)
    means = images.train.pixels.reshape(198, -1)
    assert np.ptp(means, axis=1).max() <= 2
    np.testing.assert_allclose(np.sort(means.mean(axis=1)), np.arange(198), atol=2)
