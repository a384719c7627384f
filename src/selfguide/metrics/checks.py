"""What no score is defined for, refused with a reason."""

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError


def check_pixels(pixels: Array) -> None:
    """Refuse anything but images.

    Args:
        pixels: expected uint8 (N, H, W, 3), N >= 2.

    Raises:
        UserError: another type or shape, or fewer than 2 images.
    """
    if pixels.dtype != np.uint8:
        raise UserError(
            f"images: expected uint8 in 0..255, found {pixels.dtype}; "
            "convert with (255 * x).round().astype('uint8') when they are in 0..1"
        )
    if pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape[1:]:
        raise UserError(f"images: expected shape (N, height, width, 3), found {pixels.shape}")
    if len(pixels) < 2:
        raise UserError(f"images: expected at least 2 to score, found {len(pixels)}")


def check_features(features: Array, what: str) -> None:
    """Refuse features with which no score is finite.

    Args:
        features: expected floating point (N, D), N >= 2.
        what: names them in the message.

    Raises:
        UserError: another type or shape, fewer than 2 rows, NaN or infinity.
    """
    if not np.issubdtype(features.dtype, np.floating):
        raise UserError(f"{what}: expected floating-point numbers, found {features.dtype}")
    if features.ndim != 2 or features.shape[1] == 0:
        raise UserError(f"{what}: expected one row per image, found shape {features.shape}")
    if len(features) < 2:
        raise UserError(f"{what}: expected at least 2 images, found {len(features)}")
    finite = np.asarray(np.isfinite(features).all(axis=1))
    if not finite.all():
        count, first = int((~finite).sum()), int(finite.argmin())
        raise UserError(f"{what}: NaN or infinity in {count} of {len(finite)} rows, first in row {first}")


def check_pair(features_a: Array, features_b: Array) -> None:
    """`check_features` of both, and one width.

    Raises:
        UserError: as there, or the widths differ.
    """
    check_features(features_a, "first features")
    check_features(features_b, "second features")
    if features_a.shape[1] != features_b.shape[1]:
        raise UserError(
            f"features of width {features_a.shape[1]} and {features_b.shape[1]}: expected one network for both sets"
        )
