import io
import os
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from selfguide.core.errors import UserError
from tests.unit.images.conftest import build

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., :1], IMAGES[..., 0]])
def test_npy(tmp_path, config, images):
    np.save(tmp_path / "x.npy", images)
    built = build(config(source="arrays", path=str(tmp_path / "x.npy")), seed=0)
    expected = images if images.shape[-1] == 3 else np.repeat(images.reshape(6, 8, 8, 1), 3, axis=3)
    assert {image.tobytes() for image in built.train.pixels} == {image.tobytes() for image in expected}
    assert built.class_names is built.train.labels is None


def test_npz_with_labels_and_held_out(tmp_path, config):
    labels = np.array([0, 1, 2, -1, 1, 0], dtype=np.int64)
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=labels)
    np.savez(tmp_path / "y.npz", images=IMAGES[:2], labels=np.array([11, 0]))
    settings = {"heldout_path": str(tmp_path / "y.npz"), "num_heldout": 2}
    built = build(config(source="arrays", path=str(tmp_path / "x.npz"), **settings), seed=0)
    known = {image.tobytes(): label for image, label in zip(IMAGES, labels, strict=True)}
    assert [known[image.tobytes()] for image in built.train.pixels] == built.train.labels.tolist()
    assert built.class_names == tuple(str(label) for label in range(12))
    assert sorted(built.heldout.labels) == [0, 11]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES / np.float32(255)}, r"expected uint8 in 0..255, found float32 .*255 \* images"),
        ({"images": IMAGES.astype(np.int64)}, "expected uint8 in 0..255, found int64"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"channels last.*transpose\(0, 2, 3, 1\)"),
        ({"images": IMAGES[..., [0, 1, 2, 0]]}, r"expected images \(N, H, W, 3\)"),
        ({"images": IMAGES[0, 0]}, r"expected images"),
        ({"images": IMAGES[:0]}, r"expected images"),
        ({"x": IMAGES}, "expected arrays named images .* found x"),
        ({"images": IMAGES, "labels": np.zeros(5, dtype=int)}, r"labels: expected whole numbers \(6,\)"),
        ({"images": IMAGES, "labels": np.zeros(6)}, "labels: expected whole numbers"),
        ({"images": IMAGES, "labels": np.full(6, -2)}, "labels: expected ids"),
    ],
)
def test_wrong_arrays(tmp_path, config, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=r"(?s)images\.path: .*x\.npz.*" + message):
        build(config(source="arrays", path=str(tmp_path / "x.npz")), seed=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.npz", "not a whole .npz"),
        ("x.npy", "not a whole .npy"),
        ("x.pt", "expected a .npy or .npz"),
        (None, "no such file"),
    ],
)
def test_wrong_files(tmp_path, config, name, message):
    if name:
        (tmp_path / name).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match=message):
        build(config(source="arrays", path=str(tmp_path / (name or "gone.npy"))), seed=0)


def test_object_arrays_are_not_unpickled(tmp_path, config):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="not a whole .npy"):
        build(config(source="arrays", path=str(tmp_path / "x.npy")), seed=0)


def npy_of(dtype, shape, data=bytes(384), order=False):
    """A .npy whose header says what it likes."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": dtype, "fortran_order": order, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("|u1", (10**12, 8, 8, 3), "expected 192,000,000,000,000 bytes, as its header has uint8 .*, found 384"),
        ("|u1", (10**30,), "expected 1,000,000,.* bytes, as its header has uint8 .*, found 384"),
        ("|u1", (3, 8, 8, 3), "expected 576 bytes, as its header has uint8 .*, found 384"),
        ("|u1", (-2, 8, 8, 3), "as its header has uint8 .*-2"),
        ("|u1", (-2, -8, 8, 3), "as its header has uint8 .*-2"),
        ("|u1", (0, 10**30), "not a whole"),
        ("|u1", (0, 8, 8, 3), "expected images"),
        ("|O", (2,), "expected numbers, found object"),
        ("|V8", (2,), r"expected numbers, found \|V8"),
        ("<U5", (2,), "expected numbers, found <U5"),
        ("<M8[s]", (2,), "expected numbers, found datetime64"),
        ([("a", "|u1"), ("b", "|O")], (2,), "expected numbers, found .*'a'"),
        ([(f"f{number}", "|u1") for number in range(400)], (2,), r"expected numbers, found .*\.\.\. \("),
    ],
)
def test_headers_are_held_against_the_file(tmp_path, config, suffix, dtype, shape, message):
    path = tmp_path / f"x.{suffix}"
    data = npy_of(dtype, shape)
    if suffix == "npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", data)
    else:
        path.write_bytes(data)
    with pytest.raises(UserError, match=rf"images\.path: .*x\.{suffix}: .*{message}") as error:
        build(config(source="arrays", path=str(path)), seed=0)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_headers_that_are_true(tmp_path, config, suffix):
    images = np.asfortranarray(IMAGES)
    np.save(tmp_path / "x.npy", images)
    np.savez_compressed(tmp_path / "x.npz", images=images)
    built = build(config(source="arrays", path=str(tmp_path / f"x.{suffix}")), seed=0)
    assert {image.tobytes() for image in built.train.pixels} == {image.tobytes() for image in IMAGES}


def test_more_than_the_memory_is_not_unpacked(tmp_path, config, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((100_000, 8, 8, 3), np.uint8))
    real = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: 1000 if name == "SC_PHYS_PAGES" else real(name))
    message = (
        r"x\.npz: images takes 19,200,128 bytes when it is unpacked, and this machine has [\d,]+ of memory; save it"
    )
    with pytest.raises(UserError, match=message):
        build(config(source="arrays", path=str(tmp_path / "x.npz")), seed=0)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice(tmp_path, config):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", npy_of("|u1", (2, 8, 8, 3)))
        archive.writestr("images.npy", npy_of("|u1", (1, 8, 8, 3)))
    with pytest.raises(UserError, match="images is in it 2 times"):
        build(config(source="arrays", path=str(tmp_path / "x.npz")), seed=0)


def test_names_in_few_words(tmp_path, config):
    np.savez(tmp_path / "x.npz", **{f"a{number}": 0 for number in range(500)})
    with pytest.raises(UserError, match="found a0, a1, .*characters") as error:
        build(config(source="arrays", path=str(tmp_path / "x.npz")), seed=0)
    assert len(str(error.value)) < 1000
