"""Builds data/reference. It depends on the images alone: no change of k, w or the denoiser recomputes it."""

from pathlib import Path

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.project import located
from selfguide.images.artifact import ImageSet
from selfguide.metrics.extract import extract
from selfguide.metrics.networks.registry import build_network
from selfguide.metrics.reference_set import RealFeatures, Reference
from selfguide.reference.config import ReferenceConfig


def build_reference(images: ImageSet, config: ReferenceConfig) -> Reference | None:
    """Features of the train and held-out images in every network.

    The first `num_train` and `num_heldout` images are taken: rows of data/images are in random order.

    Returns:
        The reference on rank 0, None on other ranks.

    Raises:
        UserError: more images wanted than there are, fewer than 2, or missing weights.
    """
    train = _first(images.train.pixels, config.num_train, "num_train")
    heldout = None if images.heldout is None else images.heldout.pixels
    if heldout is not None or config.num_heldout is not None:
        heldout = _first(train[:0] if heldout is None else heldout, config.num_heldout, "num_heldout")
    spaces: dict[str, RealFeatures] = {}
    backbone = None if config.backbone is None else Path(located(config.backbone))
    for name in config.networks:
        network = build_network(name, backbone)
        ours = extract(network, train, config.batch_size, {"use": "train"})
        theirs = None if heldout is None else extract(network, heldout, config.batch_size, {"use": "heldout"})
        if ours is not None:
            spaces[name] = RealFeatures(ours, theirs)
    return Reference(spaces, backbone) if spaces else None


def _first(pixels: Array, num: int | None, key: str) -> Array:
    wanted = len(pixels) if num is None else num
    if not 2 <= wanted <= len(pixels):
        raise UserError(
            f"reference.{key}: expected 2 to {len(pixels)} images, as many as data/images has, found {wanted}; "
            f"change it or images.{key}, null takes all"
        )
    return pixels[:wanted]
