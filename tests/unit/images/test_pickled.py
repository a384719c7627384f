"""Pickles of arrays that numpy wrote, and hostile ones, opcode by opcode."""

import io
import pickle
import struct
import time
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest

from selfguide.images.pickled import load_plain

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12), dtype=np.uint8)
ARRAYS = {
    "pixels": PIXELS,
    "fortran": np.asfortranarray(PIXELS),
    "axes in another order": PIXELS.reshape(2, 3, 8).transpose(1, 0, 2),
    "strided": PIXELS[:, ::2],
    "read-only": np.frombuffer(PIXELS.tobytes(), np.uint8),
    "int64": np.arange(-3, 5),
    "big-endian": np.arange(-3, 5).astype(">i4"),
    "float64": np.linspace(0, 1, 5),
    "bool": PIXELS > 99,
    "no axes": np.array(3, np.int16),
}


def load(data):
    return load_plain(io.BytesIO(data), ("data", "labels"))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ARRAYS)
def test_what_numpy_writes(name, protocol):
    array = ARRAYS[name]
    data = pickle.dumps({"data": array, "labels": [1, 2, 1000], "mean": np.zeros(3), "name": "é"}, protocol)
    for written in (data, data.replace(b"numpy._core", b"numpy.core") if protocol < 4 else data):  # numpy 2, numpy 1
        found = load(written)
        np.testing.assert_array_equal(found["data"], array)
        assert (found["data"].dtype, found["labels"], found["name"]) == (array.dtype, [1, 2, 1000], "é")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_empty_arrays(protocol):
    if protocol > 2:  # Python 3 writes no bytes for Python 2 by another name
        assert load(pickle.dumps({"data": np.zeros((0, 12), np.uint8)}, protocol))["data"].shape == (0, 12)
    assert load(pickle.dumps(PIXELS, protocol)).tobytes() == PIXELS.tobytes()


def test_pickles_of_python_2_in_text():
    """Protocol 0, as its pickle.dump(batch, file) wrote: all characters of a Latin-1 text, escaped."""
    data = bytes(range(256))
    quoted = b"S'" + b"".join(b"\\x%02x" % byte for byte in data) + b"'\n"
    array = b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n"
    kind = b"cnumpy\ndtype\np7\n(S'u1'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'|'\np11\nNNNI-1\nI-1\nI0\ntp12\nb"
    state = b"(I1\n(I2\nI128\ntp13\n" + kind + b"I00\n" + quoted + b"p14\ntp15\nb"
    found = load(b"(dp0\nS'data'\np16\n" + array + state + b"sS'labels'\np17\n(lp18\nI7\naL8L\nas.")
    np.testing.assert_array_equal(found["data"], np.arange(256, dtype=np.uint8).reshape(2, 128))
    assert found["labels"] == [7, 8]


def text(value):
    return b"T" + struct.pack("<i", len(value)) + value


def number(value):
    return b"J" + struct.pack("<i", value)


EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0t" + text(b"b") + b"tR"
PLAIN = b"(K\3" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\0tb"


def kind(name, state=PLAIN):
    return b"cnumpy\ndtype\n(" + text(name) + b"K\0K\1tR" + state


def batch(shape=(2,), of=None, data=b"U\2ab"):
    sides = b"".join(side if isinstance(side, bytes) else number(side) for side in shape)
    array = EMPTY + b"(K\1(" + sides + b"t" + (of or kind(b"u1")) + b"I00\n" + data + b"tb"
    return b"}" + text(b"data") + array + b"s."


def test_the_writer_of_hostile_ones_can_write_good_ones():
    np.testing.assert_array_equal(load(batch())["data"], np.frombuffer(b"ab", np.uint8))


FIELDS = b"(K\3" + text(b"|") + b"N(" + text(b"a") + b"t}" + number(8) + number(1) + b"K\x3ftb"
ARRAY = "an array "
HOSTILE = {
    "the pointers of a short list": (batch((10**5,), kind(b"O8"), b"]"), ARRAY),
    "objects without a state": (batch((1,), kind(b"O8", b""), b"]"), ARRAY),
    "void": (batch((1,), kind(b"V8"), text(b"12345678")), ARRAY),
    "fields": (batch((1,), kind(b"V8", FIELDS), text(b"12345678")), ARRAY),
    "fields of a plain type": (batch((1,), kind(b"u1", FIELDS), text(b"12345678")), ARRAY),
    "texts": (batch((1,), kind(b"U2"), text(b"12345678")), ARRAY),
    "dates": (batch((1,), kind(b"M8"), text(b"12345678")), ARRAY),
    "a type named by no text": (batch((1,), b"cnumpy\ndtype\n(K\1tR"), ARRAY),
    "a byte order of its own": (batch((1,), kind(b"u1", PLAIN.replace(b"|", b"S"))), ARRAY),
    "a negative shape": (batch((-1, -2)), ARRAY),
    "a shape of other things": (batch((b"\x88", 2)), ARRAY),
    "a huge shape": (batch((2**30, 2**30, 2**30)), ARRAY),
    "a shape of 4,000 digits": (batch((b"L" + b"9" * 4000 + b"L\n",)), ARRAY),
    "many axes": (batch((b"K\1",) * 70, data=text(b"a")), ARRAY),
    "fewer bytes": (batch((3,)), ARRAY),
    "more bytes": (batch((1,)), ARRAY),
    "no bytes": (batch(data=b"N"), ARRAY),
    "a text that is no bytes": (batch(data="X\x03\0\0\0世".encode()), "latin-1"),
    "a short state": (b"}" + text(b"data") + EMPTY + b"((K\2tK\0tbs.", "unpack"),
    "no state": (b"}" + text(b"data") + EMPTY + b"s.", ARRAY),
    "a name": (b"cnumpy\nload\n.", r"asks for numpy\.load"),
    "a name with dots": (b"\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", r"asks for numpy\.ndarray\.dumps"),
    "an instance": (b"(ios\nsystem\n.", "instruction"),
    "a new object": (b"cnumpy\nndarray\n)\x81.", "instruction"),
    "an extension": (b"\x82\1.", "instruction"),
    "an id": (b"Pabc\n.", "instruction"),
    "a set": (b"\x8f.", "instruction"),
    "a state for a class": (b"cnumpy\nndarray\nN}" + text(b"array") + b"Ns\x86b.", "missing"),
    "a page": (b"<!DOCTYPE html>", "instruction"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_content_is_refused(what):
    data, message = HOSTILE[what]
    with pytest.raises(Exception, match=message):  # noqa: PT011 (the caller expects any)
        load(data)


def chain(first, step, times=60):
    """`first`, and then `step` of two references to what is there so far, again and again: 2^times things."""
    parts = [b"h%ch%c" % (i, i) + step + b"q%c" % (i + 1) for i in range(times)]
    return first + b"q\0" + b"".join(parts)


AMPLIFIED = {
    "a far place in the memo": b"}r\xff\xff\xff\xff.",
    "a long text": b"X\xff\xff\xff\xff.",
    "long bytes": b"\x8e" + struct.pack("<Q", 10**11) + b".",
    "long writable bytes": b"\x96" + struct.pack("<Q", 10**11) + b".",
    "a long frame": b"\x95" + struct.pack("<Q", 10**11) + b"}.",
    "a long number": b"\x8b" + struct.pack("<i", 2**31 - 1) + b".",
    "a number of many digits": b"L" + b"9" * 10**6 + b"L\n.",
    "a key whose hash takes 2^60 steps": b"}" + chain(b")", b"\x86") + b"K\1s.",
    "a type whose name is 2^60 texts": batch(of=b"cnumpy\ndtype\n" + chain(b")", b"\x86") + b"\x85R"),
    "one text as bytes a thousand times": text(b"x" * 10**5) + b"q\0"
    + b"".join(b"c_codecs\nencode\nh\0" + text(b"latin1") + b"\x86R" for _ in range(1000)) + b".",
    "deep": b"]" * 10**4 + b"a" * (10**4 - 1) + b".",
}  # fmt: skip


@pytest.mark.parametrize("what", AMPLIFIED)
def test_a_small_file_takes_little_memory_and_time(tmp_path, what):
    (tmp_path / "x").write_bytes(AMPLIFIED[what])
    tracemalloc.start()
    started = time.process_time()
    with (tmp_path / "x").open("rb") as file, suppress(Exception):
        load_plain(file, ("data",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**7
    assert time.process_time() - started < 10
