"""Whether tensors hold numbers alone."""

from collections.abc import Mapping

from torch import Tensor

from selfguide.core.errors import UserError


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of those with NaN or infinity in them."""
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights with which a network computes no numbers.

    Args:
        tensors: name => tensor of any dtype.
        where: the file, for the message.

    Raises:
        UserError: NaN or infinity in one of them, which is named.
    """
    bad = not_finite(tensors)
    if bad:
        raise UserError(
            f"{where}: NaN or infinity in {len(bad)} of {len(tensors)} tensors, first in {bad[0]}; the file is damaged"
            " or its training diverged: make or fetch it again"
        )
