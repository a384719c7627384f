import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfguide.core.errors import UserError
from selfguide.metrics import compare as module
from selfguide.metrics.compare import compare
from selfguide.metrics.frechet import frechet_distance
from selfguide.metrics.networks.registry import NETWORKS
from selfguide.params import load_params
from stages.metrics import main
from tests.conftest import ROOT
from tests.unit.images.conftest import encode, shade, tree
from tests.unit.metrics.stub import Stub, images

SETTINGS = {"batch_size": 8, "nearest_k": 3, "splits": 2, "kid_subset_size": 10}
SIZES = {"real": 40, "fake": 25, "heldout": 30}


@pytest.fixture
def config():
    return load_params(ROOT / "params.yaml").metrics.model_copy(update=SETTINGS)


@pytest.fixture
def sets(stub, tmp_path):
    """Name of a set => its .npy; the fake images are darker."""
    paths = {}
    for seed, (name, num) in enumerate(SIZES.items()):
        paths[name] = tmp_path / f"{name}.npy"
        np.save(paths[name], images(num, seed) // (2 if name == "fake" else 1))
    return paths


class Corners(Stub):
    name = "corners"
    key = "fd_corners"

    def forward(self, pixels):
        return super().forward(pixels.flip(1))


def as_files(root: Path, pixels: np.ndarray) -> Path:
    return tree(root, {f"{i // 10}/{i:02}.png": encode(Image.fromarray(image)) for i, image in enumerate(pixels)})


def test_scores_are_those_of_the_features(sets, config):
    found = compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config)
    corners = {name: np.load(path)[:, [0, -1], [0, -1]].reshape(-1, 6) for name, path in sets.items()}
    features = {name: (values / np.sqrt(1 + 1e-5)).astype(np.float32) for name, values in corners.items()}
    assert found["fd_stub"] == pytest.approx(frechet_distance(features["fake"], features["real"]), rel=1e-4)
    assert found["fd_stub_heldout"] == pytest.approx(frechet_distance(features["fake"], features["heldout"]), rel=1e-4)
    same_num = features["heldout"][: SIZES["fake"]]
    assert found["fd_stub_floor"] == pytest.approx(frechet_distance(same_num, features["real"]), rel=1e-4)
    assert found["fd_stub"] > 2 * found["fd_stub_floor"]
    assert (found["num_samples"], found["num_reference"], found["num_heldout"]) == (25, 40, 30)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_without_heldout_images_their_keys_are_absent(sets, config):
    found = compare(sets["real"], sets["fake"], None, ["stub"], None, config)
    assert found["fd_stub"] > 0
    assert not [key for key in found if "heldout" in key or "floor" in key or "real" in key]


@pytest.mark.parametrize("root", ["in", "in.zip"])
def test_files_score_as_the_array_of_their_pixels(sets, config, tmp_path, root):
    files = {name: as_files(tmp_path / f"{name}_{root}", np.load(path)) for name, path in sets.items()}
    expected = compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config)
    assert compare(files["real"], files["fake"], files["heldout"], ["stub"], None, config) == expected
    assert compare(str(files["real"]), sets["fake"], files["heldout"], ["stub"], None, config) == expected


@pytest.mark.parametrize("copied", [True, False])
def test_a_set_against_itself(sets, config, tmp_path, copied):
    other = sets["real"]
    if copied:
        other = as_files(tmp_path / "copy", np.load(other))
    found = compare(sets["real"], other, sets["heldout"], ["stub"], None, config)
    assert found["fd_stub"] == pytest.approx(0, abs=1e-6 * found["fd_stub_floor"])
    assert found["precision_stub"] == found["recall_stub"] == found["coverage_stub"] == 1


def test_the_order_of_the_fake_images_changes_no_distance(sets, config, tmp_path):
    np.save(tmp_path / "turned.npy", np.load(sets["fake"])[::-1])
    one, two = (compare(sets["real"], path, None, ["stub"], None, config) for path in (sets["fake"], "turned.npy"))
    assert one["fd_stub"] == pytest.approx(two["fd_stub"], rel=1e-5)
    assert one["precision_stub"] == two["precision_stub"]


def test_images_need_not_be_square(stub, config, tmp_path):
    for seed, name in enumerate(("real", "fake")):
        np.save(tmp_path / f"{name}.npy", images(20, seed, size=6)[:, :4])
    assert compare("real.npy", "fake.npy", None, ["stub"], None, config)["num_samples"] == 20


def test_each_network_scores_in_its_own_space(sets, config, monkeypatch):
    monkeypatch.setitem(NETWORKS, "corners", Corners)
    found = compare(sets["real"], sets["fake"], None, ["stub", "corners"], None, config)
    alone = compare(sets["real"], sets["fake"], None, ["corners"], None, config)
    assert found["fd_corners"] == alone["fd_corners"] != found["fd_stub"]
    assert found == alone | compare(sets["real"], sets["fake"], None, ["stub"], None, config)


def test_each_set_goes_once_through_the_network(sets, config, monkeypatch):
    passed = []
    forward = Stub.forward
    monkeypatch.setattr(Stub, "forward", lambda self, pixels: passed.append(len(pixels)) or forward(self, pixels))
    compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config)
    assert sum(passed) == sum(SIZES.values())


def test_a_picture_of_the_closest_pairs(sets, config, tmp_path):
    np.save(sets["fake"], np.concatenate([np.load(sets["fake"]), np.load(sets["real"])[7:8]]))
    compare(sets["real"], sets["fake"], None, ["stub"], None, config, tmp_path / "alone.png")
    compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config, tmp_path / "both.png")
    alone, both = Image.open(tmp_path / "alone.png"), Image.open(tmp_path / "both.png")
    assert both.width > alone.width > 0


def test_the_picture_shows_samples_and_their_nearest_real_images(sets, config, monkeypatch, tmp_path):
    copied = np.load(sets["real"])[7:8]
    np.save(sets["fake"], np.concatenate([np.load(sets["fake"]), copied]))
    drawn = []
    monkeypatch.setattr(module, "save_pairs", lambda *args: drawn.append(args))
    compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config, "pairs.png")
    ((path, samples, train, distances, indices, heldout),) = drawn
    assert path == "pairs.png"
    np.testing.assert_array_equal(samples[-1], copied[0])
    np.testing.assert_array_equal(train[indices[-1, 0]], copied[0])
    assert distances[-1, 0] == 0 < distances[:-1, 0].min()
    np.testing.assert_array_equal(heldout[0], np.load(sets["heldout"]))
    assert len(heldout[1]) == len(heldout[2]) == SIZES["heldout"]


def test_nothing_is_left_behind(sets, config, tmp_path):
    compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path not in sets.values()]


def test_other_ranks_get_nothing(sets, config, monkeypatch):
    monkeypatch.setattr(module, "extract", lambda *args: None)
    assert compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config) is None


@pytest.mark.parametrize("option", ["fake", "heldout"])
def test_sets_of_other_sizes_are_refused(sets, config, tmp_path, option):
    np.save(tmp_path / "large.npy", images(25, 4, size=8))
    sets[option] = tmp_path / "large.npy"
    message = rf"--real {tmp_path}/real\.npy: 4 x 4, .*--{option} {tmp_path}/large\.npy: 8 x 8.*; resize them"
    with pytest.raises(UserError, match=message):
        compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config)


def test_images_of_0_and_1_are_refused_by_name(sets, config, tmp_path):
    np.save(tmp_path / "dark.npy", images(25, 4) // 255)
    with pytest.raises(UserError, match=r"^--fake: images: no value above 1"):
        compare(sets["real"], tmp_path / "dark.npy", None, ["stub"], None, config)


@pytest.mark.parametrize("option", ["--real", "--fake", "--heldout"])
def test_a_wrong_path_is_named_by_its_option(sets, config, tmp_path, option):
    sets[option.removeprefix("--")] = tree(tmp_path / "one", {"1.png": shade(1)})
    with pytest.raises(UserError, match=rf"^{option}: {tmp_path}/one: expected at least 2 images"):
        compare(sets["real"], sets["fake"], sets["heldout"], ["stub"], None, config)


@pytest.mark.parametrize("option", ["--real", "--fake", "--heldout", "--backbone"])
def test_an_unset_variable_is_no_path(option, monkeypatch, capsys):
    """An empty path would be the working directory."""
    options = {"--real": "a", "--fake": "b", option: ""}
    monkeypatch.setattr("sys.argv", ["metrics", *(word for pair in options.items() for word in pair)])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"argument {option}: expected a path, found an empty one" in capsys.readouterr().err


def test_an_unknown_network_is_named_before_images_are_read(config, stub):
    with pytest.raises(UserError, match=r"stubb.*stub"):
        compare("gone", "gone", None, ["stubb"], None, config)


def test_too_few_images_for_a_setting_before_any_goes_through_a_network(sets, config, tmp_path, monkeypatch):
    monkeypatch.setattr(Stub, "forward", None)
    np.save(tmp_path / "few.npy", images(3))
    with pytest.raises(UserError, match="expected at least 4 images for metrics.nearest_k 3 .*found 3"):
        compare(sets["real"], tmp_path / "few.npy", None, ["stub"], None, config)
