"""Choose, read and split: from a source to the artifact data/images, of which only a chunk is in memory at a time."""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from selfguide.core.errors import UserError
from selfguide.core.progress import progress
from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.core.target import replacing
from selfguide.images.artifact import KIND, ImageSet, ImageSplit, Labels, Rows, SplitWriter, write_images_meta
from selfguide.images.config import ImagesConfig
from selfguide.images.decode import Unreadable
from selfguide.images.geometry import Framing
from selfguide.images.registry import open_sources
from selfguide.images.source import Source

_LOG = logging.getLogger(__name__)

#: Pixels of one chunk; a chunk has at least _CHUNK_IMAGES images, so that all cores are busy with large ones too.
_CHUNK_BYTES, _CHUNK_IMAGES = 1 << 25, 128


def build(config: ImagesConfig, seed: int, folder: str | Path) -> ImageSet:
    """Read the images that `config` asks for into the artifact data/images.

    The choice is made before anything is decoded. Rows come in random order; training images are taken from the front
    of that order and split-off held-out images from its back, so a larger `num_train` extends a smaller one. Several
    views of the training images are written one view of all after the other, so that any prefix is a random sample.

    Args:
        config: section `images`.
        seed: decides the order, the random crops, and the content of rendered sources.
        folder: the artifact, written whole or not at all.

    Returns:
        the artifact, memory-mapped.

    Raises:
        UserError: a path is wrong, files are unreadable and not to be skipped, or there are too few images.
    """
    sources = open_sources(config, seed)
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
    remarks: dict[str, str] = {}
    with replacing(folder, KIND) as temporary:
        with SplitWriter(temporary, "heldout") as heldout_writer:
            chunks = _Chunks(heldout, _framing(config, seed, "heldout"), unreadable, remarks, heldout_ids)
            used, _ = chunks.take(heldout_order, config.num_heldout, heldout_writer)
        if sources.heldout is None:
            order = order[: len(order) - used]
        with SplitWriter(temporary, "train") as train_writer:
            framing = _framing(config, seed, "train")
            chunks = _Chunks(train, framing, unreadable, remarks, places=True)
            _, rows = chunks.take(order, config.num_train, train_writer)
            for view in range(1, config.num_views):
                again = dataclasses.replace(chunks, framing=dataclasses.replace(framing, view=view))
                again.take(rows, len(rows), train_writer)
        _report_remarks(remarks)
        _report(unreadable, config)
        _check_readable(len(rows), train, "num_train", config.num_train or 1)
        _check_readable(heldout_writer.num_images, heldout, "num_heldout", config.num_heldout)
        write_images_meta(
            temporary,
            source=config.source,
            size=config.size,
            num_train=train_writer.num_images,
            num_heldout=heldout_writer.num_images,
            num_skipped=len(unreadable),
            num_objects=train_writer.num_objects,
            class_names=class_names,
            mask_names=train.mask_names,
        )
    return ImageSet.load(folder)


def _order(source: Source, seed: int, split: str) -> Rows:
    if source.independent:
        return np.arange(source.num_images)
    return numpy_generator(seed, "images", split).permutation(source.num_images)


def _framing(config: ImagesConfig, seed: int, split: str) -> Framing:
    return Framing(config.size, config.crop, config.crop_scale, derive_seed(seed, "images", "crop", split))


@dataclass(frozen=True)
class _Chunks:
    """Reads images of a source and writes them, chunk by chunk.

    Attributes:
        source: where they come from.
        framing: how they become squares.
        unreadable: gathers those that could not be read.
        remarks: gathers what had to be assumed, by name of the image.
        label_ids: new number of each of the source's labels, the last one for -1; None keeps them. Empty: no labels.
        places: write also which rows they are, and what was kept of them.
    """

    source: Source
    framing: Framing
    unreadable: list[Unreadable]
    remarks: dict[str, str]
    label_ids: Labels | None = None
    places: bool = False

    def take(self, order: Rows, count: int | None, writer: SplitWriter) -> tuple[int, Rows]:
        """Write `count` images (None: all) from the front of `order`, the next ones in place of unreadable ones.

        Returns:
            how many rows of `order` were used up, and those that were written.
        """
        wanted = len(order) if count is None else count
        step = max(_CHUNK_IMAGES, _CHUNK_BYTES // (3 * self.framing.size**2))
        used, written, taken = 0, 0, [np.zeros(0, dtype=np.int64)]
        with tqdm(total=wanted, desc="images", unit="img", mininterval=1.0, leave=False, disable=not progress()) as bar:
            while written < wanted and used < len(order):
                rows = order[used : used + min(step, wanted - written)]
                reading = self.source.read(rows, self.framing)
                self.unreadable.extend(reading.unreadable)
                self.remarks.update(reading.remarks)
                places = (reading.rows, reading.windows) if self.places else ()
                writer.append(_relabel(reading.images, self.label_ids), *places)
                used += len(rows)
                written += len(reading.images)
                taken.append(reading.rows)
                bar.update(len(reading.images))
        return used, np.concatenate(taken)


def _check_count(source: Source, key: str, asked: int) -> None:
    if asked > source.num_images:
        raise UserError(f"images.{key}: {asked} asked for, but {source.description} holds {source.num_images} images")


def _check_readable(found: int, source: Source, key: str, asked: int) -> None:
    if found < asked:
        raise UserError(
            f"images.{key}: {asked} asked for, but only {found} of {source.description} are readable and not in use"
        )


def _report_remarks(remarks: Mapping[str, str]) -> None:
    for remark in sorted(set(remarks.values())):
        names = [name for name, found in remarks.items() if found == remark]
        _LOG.warning("images: of %d images, e.g. %s: %s", len(names), min(names), remark)


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
        the names of all classes, and `label_ids` of `_Chunks`.
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
