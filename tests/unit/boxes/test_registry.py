import numpy as np
import pytest

from selfguide.backbone.patches import Patches
from selfguide.boxes.config import KEYLESS
from selfguide.boxes.registry import METHODS
from tests.unit.boxes.conftest import boxes_config

GRID, OBJECT = (8, 8), (slice(2, 5), slice(1, 5))  # rows, columns


def _patches(common: float) -> Patches:
    """An object and a ground of opposite keys, and a part that all keys share."""
    sign = -np.ones(GRID, np.float32)
    sign[OBJECT] = 1
    noise = np.random.default_rng(0).normal(scale=0.05, size=(64, 6)).astype(np.float32)
    keys = sign.reshape(-1, 1) * np.float32([1, 0.5, 0, 0, 0, 0]) + common * np.float32([0, 0, 1, 1, 0, 0]) + noise
    return Patches(keys, GRID, (4, 4), (32, 32))


@pytest.mark.parametrize("method", ["lost", "token_cut"])
def test_a_part_that_all_keys_share_hides_the_object_until_it_is_subtracted(method):
    def find(common: float, subtract: bool):
        config = boxes_config(method=method, subtract_mean_key=subtract)
        return METHODS[method].find(_patches(common), config, np.random.default_rng(0))

    box = (4, 8, 20, 20)
    assert find(0.0, False) == (box, False)
    assert find(5.0, False)[0] != box
    assert find(5.0, True) == (box, False)


def test_the_configuration_knows_which_methods_look_at_keys():
    assert set(KEYLESS) == {name for name, method in METHODS.items() if not method.needs_keys}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_gives_a_box_inside_of_the_image(method):
    (x0, y0, x1, y1), _ = METHODS[method].find(_patches(0.0), boxes_config(method=method), np.random.default_rng(0))
    assert 0 <= x0 < x1 <= 32
    assert 0 <= y0 < y1 <= 32
