"""Asked and found masks against loops over all pixels, and over all pairs of samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.errors import UserError
from selfguide.obedience.masks import measure

K = 4


def counted(pairs):
    """Mean IoU and accuracy over pairs of an asked and a found mask, pixel by pixel."""
    agree, wish, got = np.zeros(K), np.zeros(K), np.zeros(K)
    for asked, found in pairs:
        for wanted, is_there in zip(asked.reshape(-1).tolist(), found.reshape(-1).tolist(), strict=True):
            if wanted == 255:
                continue
            wish[wanted] += 1
            got[is_there] += 1
            agree[wanted] += wanted == is_there
    ious = [agree[k] / (wish[k] + got[k] - agree[k]) for k in range(K) if wish[k] + got[k]]
    return sum(ious) / len(ious), agree.sum() / wish.sum()


def by_loops(asked, found):
    rows = [i for i in range(len(asked)) if (asked[i] != 255).any()]
    if not rows:
        return {}
    miou, accuracy = counted([(asked[i], found[i]) for i in rows])
    scores = {"num_masked": len(rows), "mask_miou": miou, "mask_accuracy": accuracy}
    if len(rows) > 1:
        miou, accuracy = counted([(asked[i], found[j]) for i in rows for j in rows if i != j])
        scores |= {"mask_miou_shuffled": miou, "mask_accuracy_shuffled": accuracy}
    return scores


@given(st.integers(1, 6), st.sampled_from([0, 0.3, 0.9, 1]), st.integers(0, 1000))
def test_scores(num, void, seed):
    generator = np.random.default_rng(seed)
    asked, found = generator.integers(0, K, (2, num, 3, 3)).astype(np.uint8)
    asked[generator.random(asked.shape) < void] = 255
    assert measure(asked, found, K) == pytest.approx(by_loops(asked, found))


def test_by_hand():
    asked = np.array([[[0, 0], [1, 255]], [[2, 2], [2, 2]], [[255, 255], [255, 255]]], np.uint8)
    found = np.array([[[0, 1], [1, 3]], [[2, 2], [2, 0]], [[3, 3], [3, 3]]], np.uint8)
    assert measure(asked, found, K) == pytest.approx({
        "num_masked": 2,
        "mask_miou": (1 / 3 + 1 / 2 + 3 / 4) / 3,  # class 3 is nowhere where something was asked for
        "mask_accuracy": 5 / 7,
        "mask_miou_shuffled": 0.0,
        "mask_accuracy_shuffled": 0.0,
    })  # fmt: skip


def test_samples_that_heed_no_wish_score_as_shuffled():
    generator = np.random.default_rng(0)
    asked = generator.integers(0, K, (400, 4, 4)).astype(np.uint8)
    scores = measure(asked, generator.permutation(asked), K)
    assert scores["mask_accuracy"] == pytest.approx(scores["mask_accuracy_shuffled"], abs=0.02)
    assert measure(asked, asked, K)["mask_miou"] == 1


def test_nothing_asked():
    asked = np.full((3, 2, 2), 255, np.uint8)
    assert measure(asked, np.zeros_like(asked), K) == {}
    asked[1, 0, 0] = 2
    assert measure(asked, np.full_like(asked, 2), K) == {"num_masked": 1, "mask_miou": 1, "mask_accuracy": 1}


def test_other_shapes():
    with pytest.raises(UserError, match=r"as many asked masks as found ones, found \(2, 3, 3\) and \(1, 3, 3\)"):
        measure(np.zeros((2, 3, 3), np.uint8), np.zeros((1, 3, 3), np.uint8), K)
