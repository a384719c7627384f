import torch

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
