"""What is opened is what was written: every byte of an artifact is held to its meta.json."""

import json
import os

import numpy as np
import pytest

from selfguide.core import digest
from selfguide.core.artifact import create_array, open_array, read_meta, save_array, write_meta
from selfguide.core.errors import UserError
from selfguide.core.target import replacing


@pytest.fixture
def folder(scratch_root):
    with replacing("a", "thing") as temporary:
        save_array(temporary / "x.npy", np.arange(5))
        write_meta(temporary, "thing", num=5, pair=(1, 2))
    return scratch_root / "a"


def load(folder):
    meta = read_meta(folder, "thing", "things")
    return meta["num"], meta["pair"], meta.array("x.npy", "int64", (meta["num"],)).tolist()


def test_what_was_written_is_read(folder):
    assert load(folder) == (5, [1, 2], [0, 1, 2, 3, 4])


@pytest.mark.parametrize("position", [-40, -1])
def test_a_flipped_byte_of_an_array(folder, position):
    data = bytearray((folder / "x.npy").read_bytes())
    data[position] ^= 1
    (folder / "x.npy").write_bytes(data)
    with pytest.raises(
        UserError, match=r"x\.npy: expected sha256 .*changed after it was written; run `dvc repro things`"
    ):
        load(folder)


def test_an_array_of_another_run(folder):
    save_array(folder / "x.npy", np.arange(5)[::-1])
    with pytest.raises(UserError, match="changed after it was written"):
        load(folder)


@pytest.mark.parametrize("change", [{"num": 4}, {"more": 1}, {"files": {}}, {"seal": None}])
def test_changed_words_of_meta(folder, change):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, **change}))
    with pytest.raises(UserError, match=r"meta\.json: was changed after it was written; run `dvc repro things`"):
        load(folder)


@pytest.mark.parametrize("text", ["", "[1]", "3", '"text"', "{", "[" * 10_000, '{"kind": "thing"}', "\0"])
def test_a_meta_that_is_none(folder, text):
    (folder / "meta.json").write_text(text)
    with pytest.raises(UserError, match=r"meta\.json: .*run `dvc repro things`"):
        load(folder)


def test_a_key_that_is_missing_is_named(folder):
    with pytest.raises(UserError, match="expected the key width, found none; run `dvc repro things`"):
        read_meta(folder, "thing", "things")["width"]


def test_longer_and_shorter_files(folder):
    whole = (folder / "x.npy").read_bytes()
    for data, message in ((whole + b"\0", "1 bytes behind its end"), (whole[:-1], "not a whole"), (b"", "not a whole")):
        (folder / "x.npy").write_bytes(data)
        with pytest.raises(UserError, match=message):
            load(folder)
    (folder / "x.npy").unlink()
    (folder / "x.npy").mkdir()
    with pytest.raises(UserError, match=r"x\.npy is missing: run `dvc repro things`"):
        load(folder)


HEADER = "{'descr': '<i8', 'fortran_order': False, 'shape': (%s), }"


@pytest.mark.parametrize("shape", ["10**12,", "1000000000000,", "9223372036854775807, 9", "-1,", "((", "'" * 9])
def test_headers_that_promise_what_is_not_there(folder, shape):
    header = HEADER % shape
    data = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode()
    (folder / "x.npy").write_bytes(data)
    with pytest.raises(UserError, match=r"x\.npy: not a whole \.npy file"):
        open_array(folder / "x.npy", "int64", (None,), "things")


def test_large_files_are_read_once_per_change(folder, scratch_root, monkeypatch):
    monkeypatch.setattr(digest, "SMALL", 100)
    (scratch_root / "dvc.yaml").touch()
    reads = []
    real = digest.hashlib.file_digest
    monkeypatch.setattr(digest.hashlib, "file_digest", lambda *a: reads.append(a) or real(*a))
    for _ in range(3):
        load(folder)
    assert len(reads) == 1
    moved = scratch_root / "b"  # as DVC does: another name, the same file
    folder.rename(moved)
    load(moved)
    assert len(reads) == 1
    data = bytearray((moved / "x.npy").read_bytes())
    data[-1] ^= 1
    (moved / "x.npy").write_bytes(data)
    with pytest.raises(UserError, match="changed after it was written"):
        load(moved)
    (scratch_root / "dvc.yaml").unlink()
    with pytest.raises(UserError, match="changed after it was written"):
        load(moved)  # outside of a project nothing is remembered, and nothing written
    assert len(list((scratch_root / ".scratch/digests").iterdir())) == 2


def test_room_is_taken_before_an_array_is_mapped(scratch_root, monkeypatch):
    create_array("x.npy", "float32", (3, 1000))
    save_array("y.npy", np.zeros((3, 1000), np.float32))
    assert (scratch_root / "x.npy").read_bytes() == (scratch_root / "y.npy").read_bytes()
    assert (scratch_root / "x.npy").stat().st_blocks * 512 >= 12_000  # not a hole

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: 'z\.npy'"):
        create_array("z.npy", "uint8", (5,))
