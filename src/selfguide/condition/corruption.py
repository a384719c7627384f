"""Label corruption (the paper's Fig. 3): what a random share of the images is said to be is permuted among them."""

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.seeding import numpy_generator


def corrupted_rows(num_images: int, fraction: float, seed: int) -> Array:
    """Which images are corrupted: int64 (round(fraction * N),).

    Nested: the rows of a smaller fraction are a prefix of those of a larger one.

    Raises:
        UserError: fraction outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise UserError(f"corruption: expected a fraction in [0, 1], found {fraction}")
    order = numpy_generator(seed, "corruption", "rows").permutation(num_images)
    return order[: round(fraction * num_images)]


def corrupt(ids: Array, fraction: float, seed: int) -> Array:
    """Permute the rows of a random fraction of the images among themselves, the same way for all arrays.

    The histogram of ids stays as it is, and a permuted image may by chance keep its id.

    Args:
        ids: (N, ...), a row an image; not changed.
        fraction: share of the images, in [0, 1].
        seed: fixes the images and the permutation.

    Returns:
        the same shape and dtype.

    Raises:
        UserError: fraction outside [0, 1].
    """
    rows = corrupted_rows(len(ids), fraction, seed)
    shuffled = np.array(ids)
    shuffled[rows] = shuffled[numpy_generator(seed, "corruption", "permutation").permutation(rows)]
    return shuffled
