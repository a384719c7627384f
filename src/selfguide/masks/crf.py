"""A dense CRF (Kraehenbuehl & Koltun, NeurIPS 2011) that sharpens class maps along the edges of their image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError

#: As the authors of STEGO have it: mean-field steps; weight and width in pixels of the Gaussian kernel; weight, widths
#: in pixels and in grey levels of the bilateral one.
_STEPS = 10
_GAUSSIAN, _BILATERAL = (3, 1), (4, 67, 3)
_LEAST = 1e-5


def refine(image: Array, log_probabilities: Array) -> NDArray[np.float32]:
    """Mean-field inference with a Potts model.

    Args:
        image: uint8 (H, W, 3).
        log_probabilities: float (K, H, W).

    Returns:
        probabilities (K, H, W).

    Raises:
        UserError: the library is not installed.
    """
    densecrf = _library()
    num, height, width = log_probabilities.shape
    field = densecrf.DenseCRF2D(width, height, num)
    unary = -np.log(np.clip(np.exp(log_probabilities.astype(np.float32)), _LEAST, 1))
    field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(num, -1), dtype=np.float32))
    field.addPairwiseGaussian(sxy=_GAUSSIAN[1], compat=_GAUSSIAN[0])
    pixels = np.ascontiguousarray(image)
    field.addPairwiseBilateral(sxy=_BILATERAL[1], srgb=_BILATERAL[2], rgbim=pixels, compat=_BILATERAL[0])
    return np.array(field.inference(_STEPS), dtype=np.float32).reshape(num, height, width)


def _library() -> Any:
    try:
        from pydensecrf import densecrf  # type: ignore[import-not-found]
    except ImportError:
        raise UserError(
            "masks.crf: needs a library: run `pip install pydensecrf2`, or set masks.crf to false"
        ) from None
    return densecrf
