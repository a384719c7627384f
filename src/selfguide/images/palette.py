"""One palette for all masks: that of the PASCAL VOC devkit, whose first 21 colours the field knows."""

import numpy as np


def voc_palette() -> np.ndarray:
    """Colours of class numbers 0..255, uint8 (256, 3): bit b of channel c is bit 3 (7 - b) + c of the number; 255 white."""
    numbers = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    palette[255] = 255
    return palette


PALETTE = voc_palette()
