"""Numbers from outside are checked on their own values: no cast comes first and hides what is wrong."""

import math
from fractions import Fraction
from itertools import count

import numpy as np
import pytest
import torch

import selfguide
from selfguide.core.arguments import numbers, real_number, spelled, whole_number
from selfguide.core.errors import UserError
from selfguide.samples.draw import draw_signal
from selfguide.signal.asked import as_ids
from selfguide.signal.where import WHERE
from tests.unit.samples.test_draw import BOXED, CONDITION

as_boxes = WHERE["boxes"].parse

HUGE = 10**5000  # of more digits than Python writes


def itself() -> list:
    found = [1]
    found.append(found)
    return found


#: What wraps into 0..9 as int32, or comes near to it.
WRAPPING = [2**32, 2**32 + 3, 2**31, 2**63, 2**64, 2**64 + 1, -(2**32), -(2**64), -2, 10, HUGE, -HUGE]


@pytest.mark.parametrize("number", WRAPPING, ids=lambda n: str(n.bit_length()))
@pytest.mark.parametrize("known", [{"num_ids": 10}, {}])
def test_no_id_wraps_around(number, known):
    for ids in ([number], [3, number], [[3, -1], [number]], np.array([3, number], dtype=object)):
        if number == 10 and not known:
            continue
        with pytest.raises(UserError, match=r"ids: expected -1 \(null\) to ") as error:
            as_ids(ids, **known)
        assert f"found {spelled(number)}" in str(error.value)


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.uint32])
def test_no_id_of_an_array_wraps_around(dtype):
    for number in {2**32 - 1, np.iinfo(dtype).max}:
        with pytest.raises(UserError, match=f"found {number}$"):
            as_ids(np.array([3, number], dtype))
    with pytest.raises(UserError, match="found 4294967296"):
        as_ids(torch.tensor([3, 2**32]))


IDS = [
    ([1, 2], [1, 2]), ((1, -1), [1, -1]), (range(3), [0, 1, 2]), (np.array([1, 2], np.uint64), [1, 2]),
    (np.array([1, 2], object), [1, 2]), (torch.tensor([1, 2]), [1, 2]), ([torch.tensor(1), np.int8(2)], [1, 2]),
    ([np.array([1, 2]), 3], [[1, 2], [3, -1]]), ([[], [4]], [[-1], [4]]), (np.arange(6)[::2], [0, 2, 4]),
    ([2**31 - 1], [2**31 - 1]),
]  # fmt: skip


@pytest.mark.parametrize(("ids", "expected"), IDS, ids=str)
def test_whole_numbers_of_any_kind_are_ids(ids, expected):
    found = as_ids(ids)
    assert (found.dtype, found.tolist()) == (np.int32, expected)


NO_NUMBERS = [
    None, 3, "12", b"12", [], [[[1]]], [[1, [2]]], {1, 2}, {1: 2}, iter([1]), (n for n in [1]), [None], ["1"],
    [1, None], [True], [True, 2], [np.True_], [1.0], [math.nan], [1j], [Fraction(1)], np.array([1.0]), np.array([True]),
    np.array(["a"]), np.array([1], "datetime64[s]"), np.array([1], "timedelta64[s]"), np.zeros((2, 0), int),
    np.array([(1, 2)], "i4,i4"), torch.tensor([1.0], requires_grad=True), itself(),
]  # fmt: skip


@pytest.mark.parametrize("ids", NO_NUMBERS, ids=lambda ids: type(ids).__name__ + str(ids)[:20])
def test_what_is_no_list_of_whole_numbers_is_no_ids(ids):
    with pytest.raises(UserError, match="ids: expected a list of whole numbers"):
        as_ids(ids)


@pytest.mark.parametrize(
    "number", [2**32, 2**32 + 4, 2**16 + 4, 2**63, 2**64, 1e19, 1e300, -(2**70), HUGE], ids=spelled
)
def test_no_box_wraps_around(number):
    box = [0, 0, number, 4]
    for boxes in ([box], [[[0, 0, 4, 4], box]], np.array([box], dtype=object)):
        for size in (16, 2**15 - 1):
            with pytest.raises(UserError, match=r"boxes: box \d is .*; expected 0 <= x0 < x1 <= "):
                as_boxes(boxes, size)


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.float16, np.float64])
def test_no_box_of_an_array_wraps_around(dtype):
    largest = np.inf if dtype == np.float16 else np.float64(1e300) if dtype == np.float64 else np.iinfo(dtype).max
    with pytest.raises(UserError, match=r"boxes: box 0 is"):
        as_boxes(np.array([[0, 0, largest, 4]], dtype), 16)
    assert as_boxes(np.array([[0, 0, 16, 4]], dtype), 16).tolist() == [[[0, 0, 16, 4]]]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[math.inf, 0, 4, 4]], "whole numbers of pixels"),
        ([[0.5, 0, HUGE, 4]], "whole numbers of pixels"),
        ([[True, 0, 4, 4]], "found True"),
        (np.ones((1, 4), bool), "found bool"),
        (np.ones((1, 4), complex), "found complex128"),
        ([["0", "0", "4", "4"]], "found '0'"),
        ([[0, 0, 4, None]], "found None"),
        ([[0, 0, 4, 4], [0, 0, 4]], "lists of unequal lengths"),
        ([[[0, 0, 4, 4]] * 2, [[0, 0, 4, 4]]], "lists of unequal lengths"),
        (None, "found None"),
        ([[]], "found none"),
    ],
)
def test_what_is_no_list_of_boxes(boxes, message):
    with pytest.raises(UserError, match=f"boxes: .*{message}"):
        as_boxes(boxes, 16)


def test_the_pipeline_draws_for_no_id_and_no_box_that_wraps_around():
    with pytest.raises(UserError, match="found 4294967296"):
        draw_signal(CONDITION, 3, 0, (2**32,))
    with pytest.raises(UserError, match="boxes: box 0 is"):
        draw_signal(BOXED, 3, 0, None, {"boxes": ((0, 0, 2**16 + 4, 4),)})


def test_numbers_stay_what_they_are():
    for values in ([2**63, -1], [2**64, 1], [HUGE]):
        assert numbers("x", values, "numbers").tolist() == values
    assert numbers("x", [2**53 + 1, 1], "numbers").tolist() == [2**53 + 1, 1]
    assert numbers("x", [0.5, 1], "numbers").dtype == float


BAD = {
    "w": [math.nan, math.inf, 1e39, -1e7, HUGE, "2", None, True, 2j, [2.0], np.array([2.0])],
    "eta": [math.nan, -0.1, 1.1, "0", None, True],
    "num_steps": [0, -1, 101, 2.0, True, "3", None, math.nan, HUGE],
    "batch_size": [0, -1, 2.0, True, "3", None, 2**70],
    "seed": [1.0, True, "3", None, 2**63, HUGE],
    "first_index": [-1, 1.0, True, 2**63],
    "clip": [1, "no", None],
    "guidance_interval": [(1,), (1, 2, 3), 5, "ab", (math.nan, 1), (0, math.nan), (True, 2), (0, HUGE), [[1, 2]], ()],
    "sampler": [None, ["ddim"], {}, "x" * 1000],
    "guiding": [None, []],
}


@pytest.mark.parametrize("name", BAD)
def test_every_argument_of_sample_is_checked_before_anything_is_drawn(denoiser, monkeypatch, name):
    model = selfguide.load(denoiser.folder)
    monkeypatch.setattr(model, "sample_batch", None)
    for value in BAD[name]:
        with pytest.raises(UserError, match=rf"{name}\S*: ") as error:
            model.sample([0], **{"num_steps": 2, name: value})
        assert len(str(error.value)) < 300


def test_numbers_of_numpy_and_torch_do_as_well(denoiser):
    model = selfguide.load(denoiser.folder)
    expected = model.sample([0, 1], w=2.0, num_steps=2, eta=0.5, seed=3)
    for kind in (np.array, torch.tensor):
        settings = {"w": 2.0, "num_steps": 2, "eta": 0.5, "seed": 3, "batch_size": 7, "first_index": 0}
        found = model.sample([0, 1], **{name: kind(value) for name, value in settings.items()})
        assert np.array_equal(found, expected)


def test_scalars():
    assert whole_number("x", np.int64(3), 0, 3) == 3
    assert real_number("x", np.float32(0.5), 0, 1) == 0.5
    with pytest.raises(UserError, match=r"^x: expected 0\.\.3, a whole number, found 4$"):
        whole_number("x", 4, 0, 3)
    with pytest.raises(UserError, match=r"^x: expected a number in -1\.\.1, found nan$"):
        real_number("x", math.nan, -1, 1)
    assert spelled(HUGE) == "a number of 16610 bits"
    assert spelled(count()) == "count(0)"
    assert len(spelled("x" * 1000)) < 110
