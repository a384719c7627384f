"""The axes along which features vary most."""

import torch
from scipy import linalg
from torch import Tensor


def leading_axes(product: Tensor, number: int) -> Tensor:
    """Eigenvectors of the largest eigenvalues.

    Args:
        product: (C, C), symmetric: of features with themselves.
        number: of axes.

    Returns:
        float64 (C, number) of unit length and any sign, the largest eigenvalue's first; on the CPU.
    """
    # Not torch.linalg.eigh, whose method does not converge on some products of low rank, and finds all vectors.
    last = len(product) - 1
    _, axes = linalg.eigh(product.double().cpu().numpy(), subset_by_index=[last - number + 1, last])
    return torch.from_numpy(axes).flip(1)
