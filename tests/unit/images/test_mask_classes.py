"""Files of classes, in each of their forms."""

import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.core.palette import VOID
from selfguide.images.mask_classes import VOC_CLASSES, MaskClasses, parse_classes


@pytest.mark.parametrize(
    ("data", "first", "names", "ids"),
    [
        (b"sky\nroad\n", 0, ("sky", "road"), {0: 0, 1: 1}),
        (b"sky\nroad\n", 1, ("sky", "road"), {1: 0, 2: 1}),
        (b"background\ncat", 1, ("background", "cat"), {0: 0, 1: 1}),
        (b"7 road\r\n\r\n 3   traffic light \r\n", 1, ("road", "traffic light"), {7: 0, 3: 1}),
        (b"0 void\n1 sky\n2 Void\n254 sea", 0, ("sky", "sea"), {0: VOID, 1: 0, 2: VOID, 254: 1}),
        (b"void\nsky\nroad", 0, ("sky", "road"), {0: VOID, 1: 0, 2: 1}),
        (b"255 void\n0 a", 0, ("a",), {VOID: VOID, 0: 0}),
        ("\ufeffCiel\n".encode(), 0, ("Ciel",), {0: 0}),
        ("cafe\u0301".encode("utf-16"), 0, ("caf\u00e9",), {0: 0}),
        (b"1\n2", 0, ("1", "2"), {0: 0, 1: 1}),  # a number alone is a name
    ],
)
def test_forms(data, first, names, ids):
    found = parse_classes("here", data, first)
    assert (found.names, dict(found.ids)) == (names, ids)
    table = found.table
    assert (table.dtype, table.shape, table[VOID]) == (np.uint8, (256,), VOID)
    assert {value: table[value] for value in ids} == ids
    assert (np.delete(table, list(ids)) == VOID).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "here: names no class; write one class a line, NAME or VALUE NAME"),
        (b"0 void", "here: names no class"),
        (b"0 sky\nroad", "here: expected VALUE NAME in each line, as in its others, found 'road'"),
        (b"0 sky\n0 road", "here: '0 road': expected each value and each name once"),
        (b"sky\nsky", "here: '1 sky': expected each value and each name once"),
        (b"255 sky", "here: '255 sky': expected a value of 0 to 254; 255 is void"),
        (b"256 void", "here: '256 void': expected a value of 0 to 254"),
        (b"9" * 5000 + b" sky", "expected a value of 0 to 254"),
        (b"sky\na\x00b", r"expected a class name of one line"),
        (b"x" * 300, "expected a class name of 1 to 200 characters"),
        (b"\n".join(b"c%d" % i for i in range(256)), "here: '255 c255': expected a value of 0 to 254"),
    ],
)
def test_what_is_no_file_of_classes(data, message):
    with pytest.raises(UserError, match=message) as error:
        parse_classes("here", data, 0)
    assert len(str(error.value)) < 1000


def test_values_for_messages():
    assert VOC_CLASSES.expected() == "0 to 20, 255 (void)"
    assert MaskClasses(("a", "b"), {7: 0, 3: VOID, 8: 1}).expected() == "3, 7 to 8, 255 (void)"


def test_unknown_values_each_once():
    values = np.array([[20, 255, 0], [30, 21, 30]], dtype=np.uint8)
    assert VOC_CLASSES.unknown(values).tolist() == [21, 30]
    assert not len(VOC_CLASSES.unknown(values[:1]))
