import numpy as np
import pytest

from selfguide.core.config import parse
from selfguide.core.errors import UserError
from selfguide.images.artifact import ImageSet, ImageSplit
from selfguide.metrics.reference_set import Reference
from selfguide.reference.build import build_reference
from selfguide.reference.config import ReferenceConfig
from tests.unit.metrics.stub import Stub, images

VALUES = {"networks": ["efficientnet_lite0"], "num_train": None, "num_heldout": None, "batch_size": 4, "backbone": None}


def config(**changes) -> ReferenceConfig:
    return ReferenceConfig.model_construct(**{**VALUES, "networks": ["stub"], **changes})


def image_set(num_train: int = 12, num_heldout: int = 6) -> ImageSet:
    heldout = ImageSplit(images(num_heldout, 2)) if num_heldout else None
    return ImageSet(ImageSplit(images(num_train, 1)), heldout, None, "test", 0)


def test_reference_has_the_features_of_all_images_or_of_the_first(stub, tmp_path):
    everything = build_reference(image_set(), config()).spaces["stub"]
    assert (len(everything.train), len(everything.heldout)) == (12, 6)
    some = build_reference(image_set(), config(num_train=5, num_heldout=3))
    some.save(tmp_path / "reference")
    loaded = Reference.load(tmp_path / "reference").spaces["stub"]
    np.testing.assert_array_equal(loaded.train.features, everything.train.features[:5])
    np.testing.assert_array_equal(loaded.heldout.features, everything.heldout.features[:3])


def test_equal_images_give_equal_bytes(stub, tmp_path):
    for name in ("one", "two"):
        build_reference(image_set(), config()).save(tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_each_image_goes_through_the_network_once(stub, monkeypatch):
    seen, forward = [], Stub.forward
    monkeypatch.setattr(Stub, "forward", lambda self, batch: seen.append(len(batch)) or forward(self, batch))
    build_reference(image_set(), config())
    assert sum(seen) == 12 + 6


def test_no_heldout_images_no_heldout_features(stub, tmp_path):
    build_reference(image_set(num_heldout=0), config()).save(tmp_path / "reference")
    assert Reference.load(tmp_path / "reference").spaces["stub"].heldout is None


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        (image_set(), {"num_train": 13}, r"reference\.num_train: expected 2 to 12 images"),
        (image_set(), {"num_heldout": 7}, r"reference\.num_heldout: expected 2 to 6 images"),
        (image_set(num_heldout=0), {"num_heldout": 4}, r"num_heldout: expected 2 to 0"),
        (image_set(num_heldout=1), {}, r"num_heldout: expected 2 to 1 images"),
        (image_set(num_train=1), {}, r"num_train: expected 2 to 1 images"),
    ],
)
def test_images_that_are_not_there_are_an_error(stub, images, changes, message):
    with pytest.raises(UserError, match=message):
        build_reference(images, config(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": []}, "networks: "),
        ({"networks": ["efficientnet_lite0"] * 2}, "networks: names a network twice"),
        ({"networks": ["efficientnet"]}, "valid: inception, efficientnet_lite0, .*; did you mean 'efficientnet_lite0'"),
        ({"num_train": 1}, "num_train: "),
        ({"batch_size": 0}, "batch_size: "),
    ],
)
def test_wrong_configuration_names_its_key(changes, message):
    with pytest.raises(UserError, match=message):
        parse(ReferenceConfig, {**VALUES, **changes}, "params.yaml")
