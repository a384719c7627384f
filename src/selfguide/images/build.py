"""Choose, read and split: from a source to the artifact data/images, of which only a chunk is in memory at a time."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from selfguide.core.artifact import replacing
from selfguide.core.errors import UserError
from selfguide.core.progress import progress
from selfguide.core.seeding import numpy_generator
from selfguide.images.artifact import ImageSet, ImageSplit, Labels, SplitWriter, write_images_meta
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import Unreadable
from selfguide.images.registry import SOURCES
from selfguide.images.source import Rows, Source

_LOG = logging.getLogger(__name__)

#: Pixels of one chunk; a chunk has at least _CHUNK_IMAGES images, so that all cores are busy with large ones too.
_CHUNK_BYTES, _CHUNK_IMAGES = 1 << 25, 128


def build(config: ImagesConfig, seed: int, folder: str | Path) -> ImageSet:
    """Read the images that `config` asks for into the artifact data/images.

    The choice is made before anything is decoded. Rows come in random order; training images are taken from the front
    of that order and split-off held-out images from its back, so a larger `num_train` extends a smaller one.

    Args:
        config: section `images`.
        seed: decides the order, and the content of rendered sources.
        folder: the artifact, written whole or not at all.

    Returns:
        the artifact, memory-mapped.

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

    class_names, heldout_ids = train.class_names, None
    if sources.heldout and config.num_heldout:
        class_names, heldout_ids = _merge_classes(heldout.class_names, train.class_names)
    unreadable: list[Unreadable] = []
    with replacing(folder) as temporary:
        with SplitWriter(temporary, "heldout") as heldout_writer:
            used = _take(heldout, heldout_order, config.num_heldout, config, heldout_writer, unreadable, heldout_ids)
        if sources.heldout is None:
            order = order[: len(order) - used]
        with SplitWriter(temporary, "train") as train_writer:
            _take(train, order, config.num_train, config, train_writer, unreadable)
        _report(unreadable, config)
        _check_readable(train_writer, train, "num_train", config.num_train or 1)
        _check_readable(heldout_writer, heldout, "num_heldout", config.num_heldout)
        write_images_meta(
            temporary,
            source=config.source,
            size=config.size,
            num_train=train_writer.num_images,
            num_heldout=heldout_writer.num_images,
            num_skipped=len(unreadable),
            class_names=class_names,
        )
    return ImageSet.load(folder)


def _order(source: Source, seed: int, split: str) -> Rows:
    if source.independent:
        return np.arange(source.num_images)
    return numpy_generator(seed, "images", split).permutation(source.num_images)


def _take(
    source: Source,
    order: Rows,
    count: int | None,
    config: ImagesConfig,
    writer: SplitWriter,
    unreadable: list[Unreadable],
    label_ids: Labels | None = None,
) -> int:
    """Write `count` images (None: all) from the front of `order`, the next ones in place of unreadable ones.

    Args:
        source: where they come from.
        order: its rows.
        count: how many.
        config: size and crop.
        writer: where they go.
        unreadable: gathers those that could not be read.
        label_ids: new number of each of the source's labels, the last one for -1; None keeps them. Empty: no labels.

    Returns:
        how many rows of `order` were used up.
    """
    wanted = len(order) if count is None else count
    step = max(_CHUNK_IMAGES, _CHUNK_BYTES // (3 * config.size**2))
    used = 0
    with tqdm(total=wanted, desc="images", unit="img", mininterval=1.0, leave=False, disable=not progress()) as bar:
        while writer.num_images < wanted and used < len(order):
            rows = order[used : used + min(step, wanted - writer.num_images)]
            reading = source.read(rows, config.size, config.crop)
            unreadable += reading.unreadable
            writer.append(_relabel(reading.images, label_ids))
            used += len(rows)
            bar.update(len(reading.images))
    return used


def _check_count(source: Source, key: str, asked: int) -> None:
    if asked > source.num_images:
        raise UserError(f"images.{key}: {asked} asked for, but {source.description} holds {source.num_images} images")


def _check_readable(writer: SplitWriter, source: Source, key: str, asked: int) -> None:
    if writer.num_images < asked:
        raise UserError(
            f"images.{key}: {asked} asked for, but only {writer.num_images} of {source.description} are readable and "
            "not in use"
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
    heldout: tuple[str, ...] | None, train: tuple[str, ...] | None
) -> tuple[tuple[str, ...] | None, Labels | None]:
    """Number the held-out images' classes as the training images', classes that only they have behind those.

    Returns:
        the names of all classes, and `label_ids` of `_take`.
    """
    if train is None:
        return None, np.zeros(0, dtype=np.int32)
    if heldout is None:
        return train, None
    ids = {name: label for label, name in enumerate(train)}
    for name in heldout:
        ids.setdefault(name, len(ids))
    return tuple(ids), np.array([*(ids[name] for name in heldout), -1], dtype=np.int32)  # label -1 stays -1


def _relabel(images: ImageSplit, label_ids: Labels | None) -> ImageSplit:
    if label_ids is None or images.labels is None:
        return images
    return dataclasses.replace(images, labels=label_ids[images.labels] if len(label_ids) else None)
