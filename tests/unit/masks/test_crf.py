"""The CRF, where its library is installed, and the error where it is not."""

import importlib.util
import sys

import numpy as np
import pytest

from selfguide.core.errors import UserError
from selfguide.masks.crf import refine

installed = pytest.mark.skipif(importlib.util.find_spec("pydensecrf") is None, reason="needs pydensecrf2")


def test_where_it_is_missing_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(UserError, match=r"masks\.crf: .*pip install pydensecrf2.*masks\.crf to false"):
        refine(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4)))


@installed
def test_edges_follow_the_image():
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 15:] = 255
    true = (np.arange(30) >= 15)[None].repeat(20, axis=0)
    guessed = (np.arange(30) >= 12)[None].repeat(20, axis=0)  # an edge three pixels too far left
    guessed[5, 5], guessed[9, 25] = True, False
    probabilities = np.where(guessed, [[[0.4]], [[0.6]]], [[[0.6]], [[0.4]]])
    found = refine(image, np.log(probabilities))
    assert (found.dtype, found.shape) == (np.float32, (2, 20, 30))
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert (found.argmax(axis=0) == true).all()


@installed
def test_classes_that_are_certain_stay():
    image = np.full((8, 8, 3), 100, np.uint8)
    certain = np.log(np.clip(np.stack([np.ones((8, 8)), np.zeros((8, 8)), np.zeros((8, 8))]), 1e-9, 1))
    found = refine(image, certain)
    assert np.isfinite(found).all()
    assert (found[0] > 0.99).all()
