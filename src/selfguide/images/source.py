"""What a source of images provides."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selfguide.images.artifact import ImageSplit
from selfguide.images.config import Crop
from selfguide.images.decode import Unreadable

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What reading some rows gave.

    Attributes:
        images: the readable ones, in the order asked for, with all that the source knows about them.
        unreadable: the others.
    """

    images: ImageSplit
    unreadable: tuple[Unreadable, ...] = ()


class Source(Protocol):
    """A list of images that are read on demand, so that a subset costs no more than itself.

    Attributes:
        description: what and where, for messages.
        num_images: how many there are, readable or not.
        class_names: name of each label, or None where labels are unknown.
        independent: rows are independent draws already, so that taking them in order is taking them at random.
    """

    description: str
    num_images: int
    class_names: tuple[str, ...] | None
    independent: bool

    def read(self, rows: Rows, size: int, crop: Crop) -> Reading:
        """Read the images at `rows` (n,), cropped and resized to size x size.

        Raises:
            UserError: the source as a whole cannot be read; single unreadable images are returned instead.
        """
        ...


@dataclass(frozen=True)
class Sources:
    """Where training and held-out images come from; `heldout` None: split off from `train`."""

    train: Source
    heldout: Source | None = None
