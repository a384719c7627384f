"""Sources that other packages read: scikit-learn's digits and torchvision's CIFAR."""

import hashlib
import pickle

import numpy as np
import pytest
import torchvision.datasets
from sklearn.datasets import load_digits

from selfguide.core.errors import UserError
from tests.unit.images.conftest import build


def test_digits(config):
    images = build(config(source="digits", size=16, num_heldout=297), seed=0)
    assert images.class_names == tuple("0123456789")
    assert (len(images.train), len(images.heldout)) == (1500, 297)
    counts = np.bincount(np.concatenate([images.train.labels, images.heldout.labels]))
    np.testing.assert_array_equal(counts, np.bincount(load_digits().target))
    assert images.train.pixels.min() == 0
    assert images.train.pixels.max() == 255


def test_digits_at_their_own_size_are_the_digits(config):
    images = build(config(source="digits", size=8), seed=0)
    found = load_digits()
    known = {(np.rint(image * 255 / 16)).astype(np.uint8).tobytes(): target
             for image, target in zip(found.images, found.target, strict=True)}  # fmt: skip
    pixels, labels = images.train.pixels, images.train.labels
    assert [known[np.ascontiguousarray(image[..., 0]).tobytes()] for image in pixels] == labels.tolist()


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of 20 + 10 images in torchvision's layout, with its checksums."""
    kind = torchvision.datasets.CIFAR10
    folder = tmp_path / kind.base_folder
    folder.mkdir()

    def write(name, value):
        data = pickle.dumps(value)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    rng = np.random.default_rng(0)
    sets = {}
    for name, count in (("data_batch_1", 20), ("test_batch", 10)):
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        sets[name] = write(name, {"data": pixels, "labels": [i % 3 for i in range(count)]})
    monkeypatch.setattr(kind, "train_list", [sets["data_batch_1"]])
    monkeypatch.setattr(kind, "test_list", [sets["test_batch"]])
    checksum = write("batches.meta", {"label_names": ["a", "b", "c"]})[1]
    monkeypatch.setattr(kind, "meta", {"filename": "batches.meta", "key": "label_names", "md5": checksum})
    return str(tmp_path)


def test_cifar_holds_out_its_test_set(cifar, config):
    images = build(config(source="cifar10", path=cifar, size=32, num_heldout=10), seed=0)
    assert images.class_names == ("a", "b", "c")
    expected = torchvision.datasets.CIFAR10(cifar, train=True)
    known = {image.tobytes(): label for image, label in zip(expected.data, expected.targets, strict=True)}
    assert [known[image.tobytes()] for image in images.train.pixels] == images.train.labels.tolist()
    test = {image.tobytes() for image in torchvision.datasets.CIFAR10(cifar, train=False).data}
    assert {image.tobytes() for image in images.heldout.pixels} == test


def test_cifar_is_missing(tmp_path, config):
    with pytest.raises(UserError, match=r"images\.path: .*cifar-100-python/.*images\.download"):
        build(config(source="cifar100", path=str(tmp_path)), seed=0)


def test_cifar_cannot_be_downloaded(tmp_path, config, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    with pytest.raises(UserError, match=r"images\.download: .*no route"):
        build(config(source="cifar10", path=str(tmp_path), download=True), seed=0)
