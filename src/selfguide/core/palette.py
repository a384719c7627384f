"""Class numbers in masks: which is none, and their colours, those of the PASCAL VOC devkit, which the field knows."""

import numpy as np
from numpy.typing import NDArray

#: Of no class, or not known.
VOID = 255


def voc_palette() -> NDArray[np.uint8]:
    """Colours of 0..255, uint8 (256, 3): bit b of channel c is bit 3 (7 - b) + c of the number; void is white."""
    numbers = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    palette[VOID] = 255
    return palette


PALETTE = voc_palette()
