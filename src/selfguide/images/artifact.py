"""The artifact data/images: pixels, and labels, boxes and masks where they are known.

Beside them it says which image of the source each training image is, and which part of it was kept, so that the
original pixels can be found again (`images.originals`).
"""

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import ArrayWriter, Meta, read_meta, write_meta
from selfguide.core.digest import digest_all
from selfguide.core.errors import UserError
from selfguide.core.target import replacing

KIND, STAGE = "images", "images"
SplitName = Literal["train", "heldout"]

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int32]
Boxes = NDArray[np.int16]
Masks = NDArray[np.uint8]
Rows = NDArray[np.int64]
Windows = NDArray[np.int32]


@dataclass(frozen=True)
class ImageSplit:
    """Images and what is known about them; None where nothing is.

    The rows are in random order: any prefix is a random sample. Where a source knows several objects an image, labels
    and boxes have an axis of O objects, the largest box first.

    Attributes:
        pixels: (N, S, S, 3) uint8 RGB.
        labels: (N,) int32, -1 where unknown; or (N, O), -1 where there are fewer objects.
        boxes: (N, 4) int16 x0, y0, x1, y1 in pixels, half-open, inside the image; or (N, O, 4); 0, 0, 0, 0 for none.
        masks: (N, S, S) uint8, 0..K-1, a class of `ImageSet.mask_names`; 255 is void: not known, or of no class.
    """

    pixels: Pixels
    labels: Labels | None = None
    boxes: Boxes | None = None
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __post_init__(self) -> None:
        n, size = self.pixels.shape[:2]
        expected = _layout(n, size, self.num_objects)
        for name, array in self.arrays().items():
            if (str(array.dtype), array.shape) != expected[name]:
                raise UserError(f"images: {name}: expected {expected[name]}, found {array.dtype}, {array.shape}")

    @property
    def num_objects(self) -> int | None:
        """O, or None where labels and boxes have no axis of objects."""
        if self.labels is not None:
            return self.labels.shape[1] if self.labels.ndim == 2 else None
        return self.boxes.shape[1] if self.boxes is not None and self.boxes.ndim == 3 else None

    @property
    def main_labels(self) -> Labels | None:
        """(N,) the label of each image's largest object, -1 where there is none; None where no labels are known."""
        return self.labels if self.labels is None or self.labels.ndim == 1 else self.labels[:, 0]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are known, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def take(self, rows: Any) -> "ImageSplit":
        """The images at `rows`: indices, a slice, or a boolean array (N,)."""
        return ImageSplit(**{name: array[rows] for name, array in self.arrays().items()})

    @staticmethod
    def concatenate(splits: Sequence["ImageSplit"]) -> "ImageSplit":
        """One split after the other; all know the same things."""
        names = splits[0].arrays()
        return ImageSplit(**{name: np.concatenate([split.arrays()[name] for split in splits]) for name in names})


def _layout(n: int, size: int, num_objects: int | None) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each array of a split."""
    objects = () if num_objects is None else (num_objects,)
    return {
        "pixels": ("uint8", (n, size, size, 3)),
        "labels": ("int32", (n, *objects)),
        "boxes": ("int16", (n, *objects, 4)),
        "masks": ("uint8", (n, size, size)),
    }


class SplitWriter:
    """Writes a split into the artifact's folder chunk by chunk; what is known of the first chunk is known of all.

    Use it in a `with`.
    """

    def __init__(self, folder: Path, name: SplitName) -> None:
        self.num_images = 0
        self.num_objects: int | None = None
        self._folder, self._name = folder, name
        self._writers: dict[str, ArrayWriter] = {}

    def __enter__(self) -> "SplitWriter":
        self._stack = ExitStack()
        return self

    def append(self, images: ImageSplit, rows: Rows | None = None, windows: Windows | None = None) -> None:
        """Write the next images and, where given, their rows of the source (n,) and what was kept of them (n, 4)."""
        places = {name: array for name, array in (("rows", rows), ("windows", windows)) if array is not None}
        for part, array in {**images.arrays(), **places}.items():
            if part not in self._writers:
                writer = ArrayWriter(self._folder / _file(self._name, part))
                self._writers[part] = self._stack.enter_context(writer)
            self._writers[part].append(array)
        self.num_images += len(images)
        self.num_objects = images.num_objects

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def write_images_meta(
    folder: Path,
    *,
    source: str,
    size: int,
    num_train: int,
    num_heldout: int,
    num_skipped: int,
    num_objects: int | None,
    class_names: Sequence[str] | None,
    mask_names: Sequence[str] | None,
) -> None:
    """Write meta.json, last; see ImageSet for the facts."""
    write_meta(
        folder,
        KIND,
        source=source,
        size=size,
        num_train=num_train,
        num_heldout=num_heldout,
        num_skipped=num_skipped,
        num_objects=num_objects,
        class_names=list(class_names) if class_names else None,
        mask_names=list(mask_names) if mask_names else None,
    )


@dataclass(frozen=True)
class ImageSet:
    """Training images and, where asked for, held-out ones.

    Attributes:
        train: at least one image.
        heldout: images that no network is trained on, or None.
        class_names: name of each label, or None where no labels are known.
        mask_names: name of each number in the masks, the background among them where the data set has one; or None
            where no masks are known.
        source: name of the source.
        num_skipped: unreadable files left out.
    """

    train: ImageSplit
    heldout: ImageSplit | None
    class_names: tuple[str, ...] | None
    source: str
    num_skipped: int
    mask_names: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.train.pixels.shape[1])

    def save(self, folder: str | Path) -> None:
        """Write the artifact, whole or not at all."""
        with replacing(folder, KIND) as temporary:
            splits: tuple[tuple[SplitName, ImageSplit | None], ...] = (("train", self.train), ("heldout", self.heldout))
            for name, split in splits:
                if split is not None:
                    with SplitWriter(temporary, name) as writer:
                        writer.append(split)
            write_images_meta(
                temporary,
                source=self.source,
                size=self.size,
                num_train=len(self.train),
                num_heldout=len(self.heldout) if self.heldout else 0,
                num_skipped=self.num_skipped,
                num_objects=self.train.num_objects,
                class_names=self.class_names,
                mask_names=self.mask_names,
            )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Open the artifact; arrays are memory-mapped read-only.

        Raises:
            UserError: missing, truncated or not as meta.json says.
        """
        meta = read_meta(folder, KIND, STAGE)
        names, mask_names = meta["class_names"], meta["mask_names"]
        return cls(
            train=_open_split(meta, "train"),
            heldout=_open_split(meta, "heldout") if meta["num_heldout"] else None,
            class_names=tuple(names) if names else None,
            source=meta["source"],
            num_skipped=meta["num_skipped"],
            mask_names=tuple(mask_names) if mask_names else None,
        )


def load_pixels(folder: str | Path, split: SplitName = "train") -> Pixels:
    """Open only the pixels, (N, S, S, 3) uint8, memory-mapped: all that a self-annotator may see.

    Raises:
        UserError: the artifact is missing or broken, or has no held-out images.
    """
    return _open_pixels(read_meta(folder, KIND, STAGE), split)


def digest_pixels(folder: str | Path) -> str:
    """Digest of the file of the training images' pixels, whatever else is known about them.

    Raises:
        UserError: the artifact is missing or broken.
    """
    name = _file("train", "pixels")
    return digest_all({name: read_meta(folder, KIND, STAGE)["files"][name]})


def _open_pixels(meta: Meta, split: SplitName) -> Pixels:
    n, size = meta[f"num_{split}"], meta["size"]
    if not n:
        raise UserError(
            f"{meta.folder}: there are no {split} images; set images.num_heldout and run `dvc repro {STAGE}`"
        )
    return meta.array(_file(split, "pixels"), "uint8", (n, size, size, 3))


def load_rows(folder: str | Path) -> tuple[Rows, Windows]:
    """Where the training images come from.

    Returns:
        rows (N,) int64, which image of the source each is; windows (N, 4) int32, the part of it that was kept: x0, y0,
        x1, y1 in its own pixels, half-open.

    Raises:
        UserError: the artifact is missing, broken or was not written by the stage.
    """
    meta = read_meta(folder, KIND, STAGE)
    num = meta["num_train"]
    rows = meta.array(_file("train", "rows"), "int64", (num,))
    return rows, meta.array(_file("train", "windows"), "int32", (num, 4))


def _file(split: str, part: str) -> str:
    return f"{split}.npy" if part == "pixels" else f"{split}_{part}.npy"


def _open_split(meta: Meta, split: SplitName) -> ImageSplit:
    layout = _layout(meta[f"num_{split}"], meta["size"], meta["num_objects"])
    return ImageSplit(
        _open_pixels(meta, split),
        **{
            part: meta.array(_file(split, part), dtype, shape)
            for part, (dtype, shape) in layout.items()
            if part != "pixels" and _file(split, part) in meta["files"]
        },
    )
