import numpy as np
import pytest
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.metrics.nearest import nearest_neighbours
from selfguide.metrics.pairs import closest, save_pairs

COLORS = np.random.default_rng(0).integers(0, 200, (30, 3), dtype=np.uint8)
TRAIN = np.ascontiguousarray(np.broadcast_to(COLORS[:, None, None], (30, 8, 8, 3)))


def neighbours(images: np.ndarray, num: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return nearest_neighbours(images[:, 0, 0].astype(np.float32), COLORS.astype(np.float32), num)


def test_the_closest_are_of_distinct_training_images_first():
    distances = np.array([[3.0], [1.0], [1.5], [0.5], [9.0], [2.0]])
    indices = np.array([[7], [4], [4], [4], [8], [7]])
    assert closest(distances, indices, 1).tolist() == [3]
    assert closest(distances, indices, 3).tolist() == [3, 5, 4]
    assert closest(distances, indices, 4).tolist() == [3, 1, 5, 4]
    assert closest(distances, indices, 100).tolist() == [3, 1, 2, 5, 0, 4]


def test_a_row_is_a_sample_and_its_nearest_training_images_in_order(tmp_path):
    samples = TRAIN[[3, 9, 20]] + np.array([0, 1, 2], dtype=np.uint8)[:, None, None, None]
    distances, indices = neighbours(samples)
    save_pairs(tmp_path / "pairs.png", samples, TRAIN, distances, indices)
    sheet = np.asarray(Image.open(tmp_path / "pairs.png"))
    step = 64 + 2 + 16 + 4
    for row in range(3):
        line = sheet[24 + 2 + row * step + 32].astype(int)
        inside = [tuple(line[x]) for x in range(34, sheet.shape[1], 66)]
        assert inside[0] == tuple(samples[row, 0, 0])
        shown = [tuple(color) for color in line if tuple(color) != (255, 255, 255)]
        changes = [color for i, color in enumerate(shown) if i == 0 or color != shown[i - 1]]
        expected = [tuple(samples[row, 0, 0]), *(tuple(COLORS[i]) for i in indices[row])]
        assert changes == [color for i, color in enumerate(expected) if i == 0 or color != expected[i - 1]]
        assert (sheet[24 + 2 + row * step + 64 : 24 + row * step + step, 90:] < 128).any()  # the distances
    assert (sheet[:24] < 128).any()  # the headings


def test_heldout_images_stand_beside_the_samples(tmp_path):
    samples, heldout = TRAIN[:3], TRAIN[10:25] + np.uint8(9)
    save_pairs(tmp_path / "alone.png", samples, TRAIN, *neighbours(samples), rows=4)
    save_pairs(tmp_path / "both.png", samples, TRAIN, *neighbours(samples), (heldout, *neighbours(heldout)), rows=4)
    alone, both = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("alone", "both"))
    assert both.shape[0] - alone.shape[0] == 64 + 2 + 16 + 4  # 3 samples, 4 held-out images
    np.testing.assert_array_equal(both[: alone.shape[0], : alone.shape[1]], alone)
    assert (both[:, alone.shape[1] :] < 255).any()


def test_large_images_are_reduced(tmp_path):
    train = TRAIN.repeat(25, axis=1).repeat(25, axis=2)
    save_pairs(tmp_path / "pairs.png", train[:2], train, *neighbours(TRAIN[:2], 2))
    assert Image.open(tmp_path / "pairs.png").height < 2 * 130 + 30


def test_images_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(UserError, match="sample images of shape"):
        save_pairs(tmp_path / "pairs.png", TRAIN[:, :4, :4], TRAIN, *neighbours(TRAIN))
    assert not list(tmp_path.iterdir())
