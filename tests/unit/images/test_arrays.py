import numpy as np
import pytest

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
