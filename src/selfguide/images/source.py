"""What a source of images provides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from selfguide.images.artifact import ImageSplit, Rows, Windows
from selfguide.images.decode import Glance, Unreadable
from selfguide.images.geometry import Framing


@dataclass(frozen=True)
class Reading:
    """What reading some rows gave.

    Attributes:
        images: the readable ones, in the order asked for, with all that the source knows about them.
        rows: (n,) their rows.
        windows: (n, 4) int32, the part of each that was kept, in its own pixels.
        unreadable: the others.
        remarks: name of an image => what had to be assumed of it.
    """

    images: ImageSplit
    rows: Rows
    windows: Windows
    unreadable: tuple[Unreadable, ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """A list of images that are read on demand, so that a subset costs no more than itself.

    Attributes:
        description: what and where, for messages.
        num_images: how many there are, readable or not.
        class_names: name of each label, or None where labels are unknown.
        mask_names: name of each class number in masks, or None where there are no masks.
        independent: rows are independent draws already, so that taking them in order is taking them at random.
    """

    description: str
    num_images: int
    class_names: tuple[str, ...] | None
    mask_names: tuple[str, ...] | None
    independent: bool

    def read(self, rows: Rows, framing: Framing) -> Reading:
        """Read the images at `rows` (n,), cropped and resized as `framing` says.

        Raises:
            UserError: the source as a whole cannot be read; single unreadable images are returned instead.
        """
        ...

    def original(self, row: int) -> Image.Image | None:
        """Image `row` as it is, upright, RGB, of which windows are parts; None: the source keeps no such thing."""
        ...

    def glance(self, row: int) -> Glance | None:
        """What is known of `original(row)` without decoding it; None: there is no such image."""
        ...


@dataclass(frozen=True)
class Sources:
    """Where training and held-out images come from; `heldout` None: split off from `train`."""

    train: Source
    heldout: Source | None = None
