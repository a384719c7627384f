"""Source `digits`: scikit-learn's 1,797 real handwritten digits, 8x8 grey; part of the package, no download."""

import numpy as np

from selfguide.images.config import ImagesConfig
from selfguide.images.pixels import PixelSource
from selfguide.images.source import Sources


def open_digits(config: ImagesConfig, seed: int) -> Sources:
    """White digits on black, smoothly enlarged."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8) in 0..16
    return Sources(
        PixelSource("digits", pixels, found.target.astype(np.int32), [str(name) for name in found.target_names])
    )
