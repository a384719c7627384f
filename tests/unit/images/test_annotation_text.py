import math
import reprlib

import pytest

from selfguide.core.errors import UserError
from selfguide.images.annotation_text import annotated_size, name_fault, named, number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3), (-2.5, -2.5), ("12.5", 12.5), (" 7\n", 7), ("1e3", 1000), (10**12, 1e12),
        (1e400, math.inf), ("-1e400", -math.inf), (10**350, math.inf), (-(10**350), -math.inf), ("9" * 5000, math.inf),
        (2**53, math.inf), (-1e20, -math.inf),
        ("1,5", math.nan), ("", math.nan), ("0x1", math.nan), (None, math.nan), (True, math.nan), ([1], math.nan),
        ("nan", math.nan), (math.nan, math.nan),
    ],
    ids=reprlib.repr,
)  # fmt: skip
def test_numbers(value, expected):
    assert str(number(value)) == str(float(expected))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((3, "4.4"), (3, 4)), ((0, 4), None), ((4, 0.4), None), (("x", 4), None), ((None, None), None), ((-3, 4), (-3, 4)),
     (("inf", 4), (math.inf, 4)), (("-inf", "inf"), (-math.inf, math.inf))],
)  # fmt: skip
def test_sizes(size, expected):
    assert annotated_size(*size) == expected


def test_names():
    assert [name_fault(name) for name in ("cat", "x" * 200, "a b", "猫", "a\u200db\u00a0c", "é")] == [""] * 6
    for name in ("", "x" * 201, "a\nb", "a\tb", "a\0b", "a\u2028b", "\ud83d", "x" * 10**6):
        assert "expected a class name" in name_fault(name)
        assert len(name_fault(name)) < 300
        assert name_fault(name).isprintable()


def test_the_reading_that_knows_most_lines_reads_all():
    def first(line):
        return line.split()[0]

    readings = (str, first)
    assert named("", b"a 1\nb 2\n", {"a", "b", "a 1"}, readings) == ["a", "b"]
    assert named("", b"a 1\na 2\n", {"a", "a 1", "a 2"}, readings) == ["a 1", "a 2"]  # as many lines, more names
    assert named("", b"a 1\n", {"a", "a 1"}, readings) == ["a 1"]  # the first of equals
    assert named("", b"x\ny z\nx\n", (), readings) == ["x", "y z"]


def test_other_data_is_no_list():
    with pytest.raises(UserError, match="here: names no image"):
        named("here", b" \n\t\r\n", {"a"}, [str])
    with pytest.raises(UserError, match="here: expected a text file"):
        named("here", b"\x89PNG\r\n", {"a"}, [str])
    assert named("here", b"a\n\xe9\n", {"a"}, [str]) == ["a", "é"]
