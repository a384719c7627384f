"""A mask file, whose pixels are class numbers, and how it lies on its picture."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfguide.images.artifact import Labels, Masks
from selfguide.images.decode import FaultError, open_image, reason
from selfguide.images.geometry import turn
from selfguide.images.mask_classes import MaskClasses

_INTEGERS = ("1", "L", "P", "I;16", "I")  # PIL's modes of a grey or palette PNG, of 1 to 16 bits
_ASSUMED = (
    "a tag (EXIF) turns the picture, and the size of its mask does not tell whether that is turned already, as is"
    " assumed; if it is not, remove the tag (exiftool -Orientation= FILE)"
)


@dataclass(frozen=True)
class MaskFile:
    """The mask of one image.

    Attributes:
        name: of the file, for messages.
        read: gives its bytes; None: it is missing.
    """

    name: str
    read: Callable[[], bytes] | None

    def upright(
        self, classes: MaskClasses, size: tuple[int, int], orientation: int, max_pixels: int
    ) -> tuple[Image.Image, str]:
        """The mask as it lies on the upright picture.

        Args:
            classes: of its values.
            size: width and height of the picture, upright.
            orientation: 1 to 8, how its file stores it; a mask of the stored picture's size is turned with it.
            max_pixels: width times height that the mask may have.

        Returns:
            mode L, class numbers or VOID, of `size`; and what had to be assumed, or "".

        Raises:
            FaultError: it is missing, cannot be read or decoded, or has another size; names the file.
        """
        stored = size[::-1] if orientation > 4 else size
        if self.read is None:
            raise FaultError(f"mask: expected {self.name}, found none")
        try:
            mask = decode_mask(self.read(), classes, max_pixels)
        except Exception as error:
            raise FaultError(f"mask {self.name}: {reason(error)}") from None
        if mask.size == size:
            return mask, _ASSUMED if orientation > 1 and stored == size else ""
        if mask.size == stored:
            return turn(mask, orientation), ""
        raise FaultError(
            "mask {}: expected the size of its picture, {} x {} pixels, found {} x {}".format(
                self.name, *stored, *mask.size
            )
        )


def decode_mask(data: bytes, classes: MaskClasses, max_pixels: int) -> Image.Image:
    """Decode a grey or palette PNG, of a palette the indices, to class numbers, mode L; VOID stays void.

    Raises:
        FaultError: it is another kind of file, has a value that means nothing, or more pixels than `max_pixels`.
        Exception: whatever PIL raises on a damaged file.
    """
    image = open_image(data, max_pixels)
    if image.format != "PNG" or image.mode not in _INTEGERS:
        raise FaultError(
            f"expected class numbers in a palette or grey PNG, found {image.format} of mode {image.mode}; convert it,"
            " without blending colours"
        )
    values = np.asarray(image)
    if values.max() > np.iinfo(np.uint8).max:
        raise FaultError(f"value {values.max()} is no class; expected {classes.expected()}")
    values = values.astype(np.uint8)
    if len(unknown := classes.unknown(values)):
        raise FaultError(
            f"value {unknown[0]} is no class; expected {classes.expected()}; if it is one, or void, say so in"
            " images.mask_classes"
        )
    return Image.fromarray(classes.table[values])


def classes_in(masks: Masks, num_classes: int) -> Labels:
    """The classes that are to be seen, the largest area first, of equals the lower class.

    Args:
        masks: (N, S, S) class numbers below `num_classes`, or VOID, which is none.
        num_classes: K.

    Returns:
        (N, K) int32, -1 behind the last.
    """
    areas: NDArray[np.int64] = np.zeros((len(masks), num_classes), dtype=np.int64)
    for row, mask in enumerate(masks):
        areas[row] = np.bincount(mask.ravel(), minlength=256)[:num_classes]
    order = np.argsort(-areas, axis=1, kind="stable")
    return np.where(np.take_along_axis(areas, order, axis=1) > 0, order, -1).astype(np.int32)
