"""The downsampled ImageNet: files as its authors wrote them, in small."""

import errno
import io
import os
import pickle
import tracemalloc

import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.images import imagenet, pickled
from tests.unit.images.conftest import build

TRAIN = [f"train_data_batch_{number}" for number in range(1, 11)]
pytestmark = pytest.mark.usefixtures("scratch_root")


def images_of(name, num=3, side=32):
    """Pixels (num, side, side, 3), and labels from 1, of one file."""
    rng = np.random.default_rng(sum(name.encode()))
    return rng.integers(0, 256, (num, side, side, 3), dtype=np.uint8), rng.integers(1, 1001, num)


def python2(batch):
    """A pickle as Python 2 wrote it: its one kind of string holds text and bytes alike."""
    # Protocol 1, opcode by opcode, with the names of numpy 1.
    data = batch["data"]

    def text(value):
        value = value.encode("latin1") if isinstance(value, str) else value
        return b"T" + len(value).to_bytes(4, "little") + value

    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text("b") + b"tR"
    dtype = (
        b"cnumpy\ndtype\n("
        + text("u1")
        + b"K\x00K\x01tR(K\x03"
        + text("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"(" + b"".join(b"J" + n.to_bytes(4, "little") for n in data.shape) + b"t"
    array = reconstruct + b"(K\x01" + shape + dtype + b"I00\n" + text(data.tobytes()) + b"tb"
    labels = b"(" + b"".join(b"J" + int(n).to_bytes(4, "little") for n in batch["labels"]) + b"l"
    return b"}(" + text("data") + array + text("labels") + labels + b"u."


WRITERS = {
    "python 3": lambda batch: pickle.dumps(batch, protocol=3),
    "protocol 2": lambda batch: pickle.dumps(batch, protocol=2),
    "protocol 5": lambda batch: pickle.dumps(batch, protocol=5),
    "numpy 1": lambda batch: pickle.dumps(batch, protocol=3).replace(b"numpy._core", b"numpy.core"),
    "python 2": python2,
    "npz": None,
}


def write(folder, names, writer="python 3", side=32, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels, labels = images_of(name, side=side)
        batch = {"data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1), "labels": labels.tolist(), **changes}
        if writer == "npz":
            np.savez(folder / f"{name}.npz", **batch)
        else:
            mean = {"mean": np.zeros(3 * side**2)} if writer != "python 2" and name != "val_data" else {}
            (folder / name).write_bytes(WRITERS[writer]({**batch, **mean}))


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("writer", WRITERS)
def test_every_image_comes_with_its_label(tmp_path, config, writer, side):
    write(tmp_path / "in", [*TRAIN, "val_data"], writer, side)
    images = build(config(source=f"imagenet{side}", path=str(tmp_path / "in"), size=side, num_heldout=2), seed=0)
    assert (len(images.train), len(images.heldout), len(images.class_names)) == (30, 2, 1000)
    for split, names in ((images.train, TRAIN), (images.heldout, ["val_data"])):
        known = {}
        for name in names:
            known |= {image.tobytes(): label - 1 for image, label in zip(*images_of(name, side=side), strict=True)}
        assert [known[image.tobytes()] for image in split.pixels] == split.labels.tolist()
        assert len({image.tobytes() for image in split.pixels}) == len(split)
    assert images.class_names[999] == "999"


def test_folders_of_the_archives(tmp_path, config):
    write(tmp_path / "Imagenet64_train_part1_npz", TRAIN[:5], "npz", 64)
    write(tmp_path / "Imagenet64_train_part2_npz", TRAIN[5:], "npz", 64)
    write(tmp_path / "Imagenet64_val_npz", ["val_data"], "npz", 64)
    write(tmp_path / "Imagenet32_train", TRAIN)
    write(tmp_path / "Imagenet32_val", ["val_data"])
    for side in (32, 64):
        images = build(config(source=f"imagenet{side}", path=str(tmp_path), size=16, num_heldout=3), seed=0)
        assert (len(images.train), len(images.heldout), images.size) == (30, 3, 16)


def test_missing_files_are_named(tmp_path, config):
    write(tmp_path / "in", [*TRAIN[:3], *TRAIN[5:]])
    with pytest.raises(UserError, match=r"32 px, missing: train_data_batch_4, train_data_batch_5; .*image-net\.org"):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)
    write(tmp_path / "in", TRAIN)
    assert build(config(source="imagenet32", path=str(tmp_path / "in"), size=32), seed=0).heldout is None
    with pytest.raises(UserError, match="missing: val_data; "):
        build(config(source="imagenet32", path=str(tmp_path / "in"), num_heldout=1), seed=0)
    with pytest.raises(UserError, match="no such folder"):
        build(config(source="imagenet32", path=str(tmp_path / "other")), seed=0)


def test_another_size_is_named(tmp_path, config):
    write(tmp_path / "in", TRAIN, side=64)
    with pytest.raises(UserError, match=r"train_data_batch_1: expected images of 32 px, found those of 64 px"):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)


@pytest.mark.parametrize("keep", [0, 1, 100, 5000])
def test_a_truncated_file_is_named(tmp_path, config, keep):
    write(tmp_path / "in", TRAIN)
    path = tmp_path / "in" / "train_data_batch_7"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"train_data_batch_7: not a whole batch"):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)


class Program:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


@pytest.mark.parametrize(
    "content",
    [
        Program(),
        {"data": Program(), "labels": [1]},
        {"data": np.array([Program()], dtype=object), "labels": [1]},
    ],
)
def test_a_pickle_runs_nothing(tmp_path, config, content):
    write(tmp_path / "in", TRAIN)
    (tmp_path / "in" / "train_data_batch_1").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"train_data_batch_1: not a whole batch .*asks for .*mkdir"):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)
    assert not (tmp_path / "it_ran").exists()


def test_no_other_codec():
    with pytest.raises(pickle.UnpicklingError, match="hex"):
        pickled._Bytes("61", "hex")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": np.zeros((3, 3072), np.float32)}, r"data: expected uint8 \(N, 3072\), found float32 \(3, 3072\)"),
        ({"data": np.zeros((3, 32, 32, 3), np.uint8)}, "data: expected uint8"),
        ({"data": np.zeros((3, 3000), np.uint8)}, r"expected images of 32 px, found \(3, 3000\)"),
        ({"data": np.zeros((0, 3072), np.uint8)}, "data: expected uint8"),
        ({"labels": [1, 2]}, r"labels: expected whole numbers \(3,\), found int64 \(2,\)"),
        ({"labels": [1.0, 2.0, 3.0]}, "labels: expected whole numbers"),
        ({"labels": [[1], [2, 3], []]}, "labels: expected an array"),
        ({"labels": [1, 2, 10**30]}, r"labels: expected whole numbers \(3,\), found object"),
        ({"labels": [True, True, False]}, "labels: expected whole numbers"),
        ({"labels": None}, "labels: expected an array or a list of numbers, found NoneType"),
        ({"data": [1, 2, 3]}, "data: expected uint8"),
        ({"labels": [0, 1, 2]}, r"labels: expected 1\.\.1000, found 0\.\.2"),
        ({"labels": [1, 1001, 2]}, r"labels: expected 1\.\.1000, found 1\.\.1001"),
    ],
)
def test_foreign_content_is_named(tmp_path, config, changes, message):
    write(tmp_path / "in", TRAIN, **changes)
    with pytest.raises(UserError, match=message):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "expected a dictionary of data and labels, found list"), ({"X": 1}, "expected data and labels, found X"),
     (np.zeros(3), "expected a dictionary of data and labels, found ndarray"),
     ({str(key): 1 for key in range(10**4)}, r"expected data and labels, found 0, 1, .*characters\)$")],
)  # fmt: skip
def test_another_pickle_is_named(tmp_path, config, content, message):
    write(tmp_path / "in", TRAIN)
    (tmp_path / "in" / "train_data_batch_1").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=message):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)


def test_labels_that_hold_themselves(tmp_path, config):
    labels = [1]
    labels *= 2
    for _ in range(60):
        labels = [labels, labels]  # 2^60 paths
    write(tmp_path / "in", TRAIN, labels=labels)
    with pytest.raises(UserError, match="labels: expected an array or a list of numbers, found list"):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)


@pytest.mark.parametrize("kind", [tuple, np.array, lambda labels: np.array(labels, dtype=">u2")])
def test_labels_of_other_types(tmp_path, config, kind):
    write(tmp_path / "in", TRAIN, labels=kind([5, 5, 5]))
    images = build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)
    assert set(images.train.labels.tolist()) == {4}


def test_an_array_of_objects_that_lie_elsewhere(tmp_path, config):
    """Numpy's own unpickling ends the process here: as many pointers as the shape says, of a list that is shorter."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\1btR"
    kind = b"cnumpy\ndtype\n(U\2O8K\0K\1tR(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
    write(tmp_path / "in", TRAIN)
    content = b"}(U\4data" + array + b"(K\1(K\xfft" + kind + b"I00\n]tbU\6labels]u."
    (tmp_path / "in" / "train_data_batch_1").write_bytes(content)
    with pytest.raises(UserError, match=r"train_data_batch_1: not a whole batch .*an array of type O8"):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)


def test_a_full_disk_is_named(tmp_path, config, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path / "in", TRAIN)
    monkeypatch.setattr(imagenet.tempfile, "TemporaryFile", lambda dir: Full())
    with pytest.raises(UserError, match=r"temporary file of the train images .*No space left"):
        build(config(source="imagenet32", path=str(tmp_path / "in")), seed=0)


def test_one_batch_is_in_memory_at_a_time(tmp_path, config, monkeypatch):
    """All files together take ten times the bound."""
    num, side = 1000, 32
    data, labels = np.zeros((num, 3 * side**2), np.uint8), [1] * num
    (tmp_path / "in").mkdir()
    for name in TRAIN:
        (tmp_path / "in" / name).write_bytes(pickle.dumps({"data": data, "labels": labels}, protocol=3))
    monkeypatch.setattr(imagenet, "_CHUNK", 64)
    monkeypatch.setattr("selfguide.images.build._CHUNK_BYTES", 1 << 18)
    section = config(source="imagenet32", path=str(tmp_path / "in"), size=side)
    tracemalloc.start()
    images = build(section, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(images.train) == 10 * num
    assert data.nbytes < peak < 1.7 * data.nbytes
