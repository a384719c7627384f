import numpy as np
import pytest
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSet
from selfguide.images.build import build as build_into
from selfguide.images.geometry import View, fit
from selfguide.images.originals import Originals
from tests.unit.images.conftest import encode, solid, tree


def noise(i, size=(30, 20)):
    values = np.random.default_rng(i).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return encode(Image.fromarray(values))


@pytest.mark.parametrize("root", ["in", "in.zip"])
@pytest.mark.parametrize("crop", ["center", "squash", "random"])
def test_the_stored_square_is_the_window_of_the_original(tmp_path, config, root, crop):
    path = tree(tmp_path / root, {f"{'ab'[i % 2]}/{i}.png": noise(i, (20 + i, 30)) for i in range(12)})
    section = config(path=str(path), crop=crop, num_heldout=3)
    build_into(section, 0, tmp_path / "images")
    originals, stored = Originals(section, 0, tmp_path / "images"), ImageSet.load(tmp_path / "images").train.pixels
    assert len(originals) == len(originals.rows) == len(originals.windows) == 9
    for i in range(9):
        pixels = originals.read(i)
        assert (pixels.dtype, pixels.shape[0], pixels.shape[2]) == (np.uint8, 30, 3)
        assert originals.glance(i)[0] == pixels.shape[:2]
        again = fit(View(Image.fromarray(pixels)), 8, tuple(originals.windows[i].tolist()))
        np.testing.assert_array_equal(np.asarray(again.image), stored[i])


def test_pixels_in_memory(tmp_path, config):
    np.save(tmp_path / "x.npy", np.arange(5 * 12 * 9, dtype=np.uint8).reshape(5, 12, 9))
    section = config(source="arrays", path=str(tmp_path / "x.npy"))
    build_into(section, 0, tmp_path / "images")
    originals = Originals(section, 0, tmp_path / "images")
    grey = np.load(tmp_path / "x.npy")[originals.rows[2]]
    np.testing.assert_array_equal(originals.read(2), np.repeat(grey[..., None], 3, axis=2))
    assert originals.glance(2)[0] == (12, 9)
    assert len({originals.glance(i)[1] for i in range(5)}) == 5


def test_scenes_are_the_stored_pixels(tmp_path, config):
    section = config(source="scenes", size=16, num_train=5, scene_objects=2)
    build_into(section, 0, tmp_path / "images")
    originals = Originals(section, 0, tmp_path / "images")
    np.testing.assert_array_equal(originals.windows, [[0, 0, 16, 16]] * 5)
    stored = ImageSet.load(tmp_path / "images").train.pixels
    np.testing.assert_array_equal(originals.read(3), stored[3])
    assert originals.glance(3)[0] == (16, 16)


def test_files_that_have_changed(tmp_path, config):
    files = {f"{i}.png": encode(solid((i, i, i), (16, 16))) for i in range(6)}
    section = config(path=str(tree(tmp_path / "in", files)))
    build_into(section, 0, tmp_path / "images")
    (tmp_path / "in" / "2.png").write_bytes(b"")
    originals = Originals(section, 0, tmp_path / "images")
    changed = originals.rows.tolist().index(2)
    with pytest.raises(UserError, match=r"image \d: Unident.*the files have changed: run `dvc repro -f images`"):
        originals.read(changed)
    with pytest.raises(UserError, match=r"image \d: Unident.*the files have changed"):
        originals.glance(changed)
    (tmp_path / "in" / "2.png").write_bytes(encode(solid((1, 1, 1), (9, 9))))
    with pytest.raises(UserError, match=r"a window \[0, 0, 16, 16\] of 9 x 9 pixels"):
        originals.read(changed)
    with pytest.raises(UserError, match=r"a window \[0, 0, 16, 16\] of 9 x 9 pixels"):
        originals.glance(changed)
    (tmp_path / "in" / "2.png").unlink()
    with pytest.raises(UserError, match=r"found row 5 of 5 images; the files have changed"):
        Originals(section, 0, tmp_path / "images")


def test_an_artifact_without_rows(tmp_path, config):
    section = config(source="scenes", size=16, num_train=5)
    build_into(section, 0, tmp_path / "images").save(tmp_path / "saved")
    with pytest.raises(UserError, match=r"train_rows\.npy is missing: run `dvc repro images`"):
        Originals(section, 0, tmp_path / "saved")
