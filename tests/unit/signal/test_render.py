import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfguide.signal.render import box_masks

COORDINATE = st.integers(-3, 12)
BOX = st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE)


@given(
    st.integers(1, 9), st.integers(0, 3).flatmap(lambda o: st.lists(st.lists(BOX, min_size=o, max_size=o), max_size=4))
)
def test_a_cell_is_1_where_any_box_holds_it(size, images):
    boxes = np.array(images, np.int16).reshape(len(images), -1 if images and images[0] else 0, 4)
    found = box_masks(torch.from_numpy(boxes), size)
    assert found.shape == (len(images), 1, size, size)
    assert found.dtype == torch.float32
    for n, some in enumerate(images):
        for y in range(size):
            for x in range(size):
                inside = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in some)
                assert found[n, 0, y, x] == inside


def test_one_box_an_image():
    boxes = torch.tensor([[1, 0, 3, 2], [0, 0, 0, 0]])
    found = box_masks(boxes, 3)
    assert found[0, 0].tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    assert not found[1].any()
    assert torch.equal(found, box_masks(boxes[:, None], 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_blur_it(dtype):
    boxes = torch.tensor([[[0, 0, 5, 5]] * 400 + [[6, 6, 7, 7]]])
    with torch.autocast("cpu", dtype):
        found = box_masks(boxes, 8)
    assert torch.equal(found, box_masks(boxes, 8))
    assert found.sum() == 26
