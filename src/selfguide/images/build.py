"""Choose, read and split: from a source to the artifact data/images."""

import dataclasses
import logging

import numpy as np

from selfguide.core.errors import UserError
from selfguide.core.seeding import numpy_generator
from selfguide.images.artifact import ImageSet, ImageSplit
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import Unreadable
from selfguide.images.registry import SOURCES
from selfguide.images.source import Rows, Source

_LOG = logging.getLogger(__name__)


def build(config: ImagesConfig, seed: int) -> ImageSet:
    """Read the images that `config` asks for.

    The choice is made before anything is decoded. Rows come in random order; training images are taken from the front
    of that order and split-off held-out images from its back, so a larger `num_train` extends a smaller one.

    Args:
        config: section `images`.
        seed: decides the order, and the content of rendered sources.

    Raises:
        UserError: a path is wrong, files are unreadable and not to be skipped, or there are too few images.
    """
    sources = SOURCES[config.source](config, seed)
    train, heldout = sources.train, sources.heldout or sources.train
    order, heldout_order = _order(train, seed, "train"), _order(heldout, seed, "heldout")
    if sources.heldout is None:
        heldout_order = order[::-1]
        _check_count(train, "num_train + images.num_heldout", (config.num_train or 1) + config.num_heldout)
    else:
        _check_count(train, "num_train", config.num_train or 1)
        _check_count(heldout, "num_heldout", config.num_heldout)

    unreadable: list[Unreadable] = []
    heldout_split, used = _take(heldout, heldout_order, config.num_heldout, config, unreadable)
    if sources.heldout is None:
        order = order[: len(order) - used]
    train_split, _ = _take(train, order, config.num_train, config, unreadable)
    _report(unreadable, config)
    _check_readable(train_split, train, "num_train", config.num_train or 1)
    _check_readable(heldout_split, heldout, "num_heldout", config.num_heldout)

    assert train_split is not None  # at least one is asked for
    class_names = train.class_names
    if heldout_split and sources.heldout:
        heldout_split, class_names = _merge_classes(heldout_split, heldout.class_names, class_names)
    return ImageSet(train_split, heldout_split, class_names, config.source, len(unreadable))


def _order(source: Source, seed: int, split: str) -> Rows:
    if source.independent:
        return np.arange(source.num_images)
    return numpy_generator(seed, "images", split).permutation(source.num_images)


def _take(
    source: Source, order: Rows, count: int | None, config: ImagesConfig, unreadable: list[Unreadable]
) -> tuple[ImageSplit | None, int]:
    """Read `count` images (None: all) from the front of `order`, the next ones in place of unreadable ones.

    Returns:
        the images, None where there are none, and how many rows of `order` were used up.
    """
    wanted = len(order) if count is None else count
    splits: list[ImageSplit] = []
    have = used = 0
    while have < wanted and used < len(order):
        rows = order[used : used + wanted - have]
        reading = source.read(rows, config.size, config.crop)
        unreadable += reading.unreadable
        splits.append(reading.images)
        have, used = have + len(reading.images), used + len(rows)
    return (ImageSplit.concatenate(splits) if len(splits) > 1 else splits[0] if splits else None), used


def _check_count(source: Source, key: str, asked: int) -> None:
    if asked > source.num_images:
        raise UserError(f"images.{key}: {asked} asked for, but {source.description} holds {source.num_images} images")


def _check_readable(split: ImageSplit | None, source: Source, key: str, asked: int) -> None:
    have = len(split) if split else 0
    if have < asked:
        raise UserError(
            f"images.{key}: {asked} asked for, but only {have} of {source.description} are readable and not in use"
        )


def _report(unreadable: list[Unreadable], config: ImagesConfig) -> None:
    if not unreadable:
        return
    listed = "\n".join(f"  {file.name}: {file.reason}" for file in sorted(unreadable, key=lambda file: file.name))
    if config.unreadable == "error":
        raise UserError(
            f"images.path: {len(unreadable)} unreadable files:\n{listed}\n"
            "repair or remove them, or set images.unreadable to skip"
        )
    _LOG.warning("images: skipped %d unreadable files:\n%s", len(unreadable), listed)


def _merge_classes(
    heldout: ImageSplit, names: tuple[str, ...] | None, train_names: tuple[str, ...] | None
) -> tuple[ImageSplit, tuple[str, ...] | None]:
    """Number the held-out images' classes as the training images', classes that only they have behind those."""
    if names is None or heldout.labels is None:
        return heldout, train_names
    if train_names is None:
        return dataclasses.replace(heldout, labels=None), None
    merged = train_names + tuple(name for name in names if name not in train_names)
    ids = np.array([merged.index(name) for name in names] + [-1], dtype=np.int32)  # label -1 stays -1
    return dataclasses.replace(heldout, labels=ids[heldout.labels]), merged
