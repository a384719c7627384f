import pytest
import torch

from selfguide.core.errors import UserError
from selfguide.core.pixels import to_float, to_uint8


def test_every_value_survives_the_round_trip():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3)
    floats = to_float(images)
    assert floats.shape == (1, 3, 16, 16)
    assert floats.min() == -1
    assert floats.max() == 1
    assert torch.equal(to_uint8(floats), images)


def test_rounding_and_clipping():
    x = torch.tensor([-2.0, -1.0, 0.0, 0.003, 0.005, 1.0, 3.0]).reshape(1, 1, 1, 7).expand(1, 3, 1, 7)
    assert to_uint8(x)[0, 0, :, 0].tolist() == [0, 0, 128, 128, 128, 255, 255]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_no_number_is_no_image(value, dtype):
    x = torch.zeros(4, 3, 2, 2, dtype=dtype)
    x[1, 2, 0, 1] = x[3, 0, 0, 0] = x[3, 1, 1, 1] = value
    with pytest.raises(UserError, match="samples: NaN or infinity in 2 of 4 images drawn together; lower w, "):
        to_uint8(x)


def test_large_numbers_are_clipped():
    """Of a run without `clip` that diverged: white and black are what it drew."""
    assert to_uint8(torch.tensor([1e30, -1e30, 3e38]).reshape(1, 3, 1, 1)).tolist() == [[[[255, 0, 255]]]]
