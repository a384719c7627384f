import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.images import decode
from selfguide.metrics import image_files
from selfguide.metrics.image_files import load_images
from tests.unit.images.conftest import encode, shade, shades, solid, tree

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 9, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("SELFGUIDE_PROGRESS", "0")


def png(pixels: np.ndarray) -> bytes:
    return encode(Image.fromarray(pixels))


def save(path: Path, images: np.ndarray) -> Path:
    """The images as files in nested folders, in order of path."""
    names = ["0.png", "a/0.png", "a/b/0.png", "a/c.png", "z/0.png"]
    return tree(path, {name: png(image) for name, image in reversed(list(zip(names, images, strict=True)))})


@pytest.mark.parametrize("root", ["in", "in.zip"])
def test_files_in_order_of_path(tmp_path, root):
    found = load_images(save(tmp_path / root, IMAGES), "--real")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IMAGES)


@pytest.mark.parametrize("name", ["x.npy", "images.npz", "arr_0.npz", "reference.npz"])
def test_arrays(tmp_path, name):
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, IMAGES)
    elif name == "images.npz":
        np.savez_compressed(path, images=IMAGES, labels=np.arange(5))
    elif name == "arr_0.npz":
        np.savez(path, IMAGES, np.arange(5))
    else:  # ADM's reference batches hold statistics beside the images
        np.savez(path, arr_0=IMAGES, mu=np.zeros(3), sigma=np.eye(3))
    np.testing.assert_array_equal(load_images(str(path), "--real"), IMAGES)


@settings(max_examples=25)
@given(data=st.data(), height=st.integers(1, 12), width=st.integers(1, 12), num=st.integers(2, 5))
def test_any_size_from_files_and_from_an_array(data, height, width, num):
    images = data.draw(arrays(np.uint8, (num, height, width, 3)))
    with tempfile.TemporaryDirectory() as folder:
        tree(Path(folder) / "in.zip", {f"{i}.png": png(image) for i, image in enumerate(images)})
        np.save(Path(folder) / "x.npy", images)
        for name in ("in.zip", "x.npy"):
            np.testing.assert_array_equal(load_images(Path(folder) / name, "--fake"), images)


@pytest.mark.parametrize("shape", [(5, 6, 9), (5, 6, 9, 1)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_grey_arrays_become_rgb(tmp_path, shape, suffix):
    grey = IMAGES[..., 0].reshape(shape)
    np.save(tmp_path / "x.npy", grey)
    np.savez(tmp_path / "x.npz", images=grey)
    found = load_images(tmp_path / f"x{suffix}", "--real")
    np.testing.assert_array_equal(found, np.repeat(IMAGES[..., :1], 3, axis=3))


def test_all_kinds_of_files(tmp_path):
    level = (90, 90, 90)
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "rgb.png": encode(solid(level, (4, 8))),
        "grey.png": encode(solid(90, (4, 8), "L")),
        "deep.tif": encode(Image.fromarray(np.full((8, 4), 90 * 257, dtype=np.uint16)), "TIFF"),
        "palette.gif": encode(solid(level, (4, 8)).quantize(2), "GIF"),
        "palette.png": encode(solid(level, (4, 8)).quantize(2)),
        "alpha.webp": encode(solid((*level, 255), (4, 8), "RGBA"), "WEBP", lossless=True),
        "turned.png": encode(solid(level, (8, 4)), exif=turned),
    }
    found = load_images(tree(tmp_path / "in", files), "--real")
    np.testing.assert_array_equal(found, np.full((len(files), 8, 4, 3), 90))


@pytest.mark.parametrize("root", ["in", "in.zip"])
def test_a_large_set_lies_in_a_file_that_leaves_nothing_behind(tmp_path, monkeypatch, root):
    monkeypatch.setattr(image_files, "_IN_MEMORY", IMAGES.nbytes - 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    found = load_images(save(tmp_path / root, IMAGES), "--real")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, IMAGES)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("save_npz", [np.savez, np.savez_compressed])
def test_a_large_npz_is_not_read_into_memory(tmp_path, monkeypatch, save_npz):
    monkeypatch.setattr(image_files, "_IN_MEMORY", IMAGES.nbytes - 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    save_npz(tmp_path / "x.npz", IMAGES)
    found = load_images(tmp_path / "x.npz", "--real")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, IMAGES)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("name", ["in", "x.npz"])
def test_a_full_disk(tmp_path, monkeypatch, name):
    monkeypatch.setattr(image_files, "_IN_MEMORY", 1)
    monkeypatch.setattr(image_files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    save(tmp_path / "in", IMAGES)
    np.savez(tmp_path / "x.npz", IMAGES)
    with pytest.raises(UserError, match=rf"--real: .*{name}: expected .* GB free .*found 0.0 GB; set TMPDIR"):
        load_images(tmp_path / name, "--real")


def test_the_first_file_of_another_size_is_named(tmp_path):
    files = {f"{i:03}.png": shade(i, (8, 6)) for i in range(300)}
    other = {name: shade(0, (6, 8)) for name in ("250.png", "131.png", "132.png")}
    path = tree(tmp_path / "in", {**files, **other, "131.txt": b"", "299.png": b"broken"})
    message = r"--fake: .*in: .*one size, found 6 x 8 \(.*in/000\.png\) and 8 x 6 \(.*in/131\.png\); resize them all"
    with pytest.raises(UserError, match=message):
        load_images(path, "--fake")


def test_unreadable_files_are_named(tmp_path):
    files = {f"good/{i}.png": shade(i) for i in range(4)}
    cut = shade(1)[:40]
    path = tree(tmp_path / "in", {**files, "a.png": b"text", "b.jpg": b"", "c.png": cut})
    with pytest.raises(UserError) as error:
        load_images(path, "--fake")
    message = str(error.value)
    assert message.startswith(f"--fake: {path}: 3 unreadable files of 7:\n")
    assert f"{path}/a.png: not an image\n" in message
    assert all(f"{path}/{name}: " in message for name in ("b.jpg", "c.png"))
    assert "more" not in message
    assert message.endswith("repair or remove them")


def test_a_file_of_too_many_pixels_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 64)
    path = tree(tmp_path / "in", {"1.png": shade(1), "2.png": shade(2), "3.png": shade(3, (10, 8))})
    with pytest.raises(UserError, match=r"3\.png: expected at most 64 pixels, found 10 x 8 = 80; make it smaller"):
        load_images(path, "--real")


def test_a_loop_of_links_adds_nothing(tmp_path):
    path = tree(tmp_path / "in", {"1.png": shade(1), "2.png": shade(2)})
    (path / "loop").symlink_to(".")
    (path / "3.png").symlink_to("1.png")
    assert shades(load_images(path, "--real")) == [1, 2]


def test_of_many_unreadable_files_five_are_named(tmp_path):
    path = tree(tmp_path / "in.zip", {f"{i}.png": b"text" for i in range(8)})
    with pytest.raises(UserError) as error:
        load_images(path, "--fake")
    message = str(error.value)
    assert "8 unreadable files of 8" in message
    assert [f"{i}.png: not an image" in message for i in range(8)] == [True] * 5 + [False] * 3
    assert "and 3 more" in message


def test_hidden_files_and_other_files_are_passed_over(tmp_path):
    path = tree(tmp_path / "in", {"1.png": shade(1), "2.png": shade(2), ".3.png": shade(3), "notes.txt": b"x"})
    assert shades(load_images(path, "--real")) == [1, 2]


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("gone", {}, "no such folder or file; check the path"),
        ("gone.npy", {}, "no such folder or file; check the path"),
        ("in", {}, "expected images, found no files"),
        ("in", {"a.txt": b"", "b.npy": b"", "c.npy": b""}, r"expected images, found 2 \.npy, 1 \.txt; convert them"),
        ("in", {"1.png": shade(1)}, "expected at least 2 images, found 1"),
        ("in.zip", {"1.png": shade(1)}, "expected at least 2 images, found 1"),
        ("in.zip", {"a.txt": b""}, r"expected images, found 1 \.txt"),
        ("notes.txt", b"hello", r"expected a folder of images, a \.zip, a \.npy or a \.npz, found another kind"),
        ("1.png", shade(1), r"expected a folder of images, a \.zip, a \.npy or a \.npz, found another kind"),
        ("text.zip", b"hello", r"expected a folder or a whole \.zip"),
        ("text.npy", b"hello", r"not a whole \.npy file"),
        ("empty.npy", b"", r"not a whole \.npy file"),
        ("text.npz", b"hello", r"not a whole \.npz file"),
        ("cut.npz", b"PK\x03\x04 nothing", r"not a whole \.npz file"),
    ],
)
def test_wrong_paths(tmp_path, name, files, message):
    path = tmp_path / name
    if isinstance(files, bytes):
        path.write_bytes(files)
    elif not name.startswith("gone"):
        if not path.suffix:
            path.mkdir()
        tree(path, files)
    with pytest.raises(UserError, match=rf"^--real: {path}: {message}"):
        load_images(path, "--real")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES / np.float32(255), r"expected uint8 in 0\.\.255, found float32 .*\(255 \* images\)\.round\(\)"),
        (IMAGES.astype(np.int64), r"expected uint8 in 0\.\.255, found int64 .*astype\('uint8'\)"),
        (IMAGES > 100, r"expected uint8 in 0\.\.255, found bool"),
        (IMAGES.transpose(0, 3, 1, 2), r"expected channels last, .*\(5, 3, 6, 9\).*transpose\(0, 2, 3, 1\)"),
        (IMAGES[..., [0, 1, 2, 0]], r"expected images \(N, H, W, 3\).*\(5, 6, 9, 4\)"),
        (IMAGES[0, 0], r"expected images \(N, H, W, 3\)"),
        (IMAGES[:0], r"expected images \(N, H, W, 3\).*\(0, 6, 9, 3\)"),
        (IMAGES[:1], "expected at least 2 images, found 1"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_wrong_arrays(tmp_path, images, message, suffix):
    np.save(tmp_path / "x.npy", images)
    np.savez(tmp_path / "x.npz", images=images)
    with pytest.raises(UserError, match=rf"^--heldout: {tmp_path}/x{suffix}: {message}"):
        load_images(tmp_path / f"x{suffix}", "--heldout")


def test_an_npz_without_images(tmp_path):
    np.savez(tmp_path / "x.npz", pixels=IMAGES, mu=np.zeros(2))
    with pytest.raises(UserError, match=r"array named images or arr_0, found pixels, mu; save it with np\.savez"):
        load_images(tmp_path / "x.npz", "--real")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_truncated_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    np.save(path, IMAGES) if suffix == ".npy" else np.savez(path, images=IMAGES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=rf"--real: {path}: not a whole {suffix} file"):
        load_images(path, "--real")


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"x\.npy: not a whole \.npy file"):
        load_images(tmp_path / "x.npy", "--real")


def test_a_folder_called_like_an_array(tmp_path):
    np.testing.assert_array_equal(load_images(save(tmp_path / "x.npy", IMAGES), "--real"), IMAGES)
