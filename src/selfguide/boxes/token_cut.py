"""TokenCut: the box of one object by a normalised cut of a graph of keys, without training (Wang et al., CVPR 2022)."""

from typing import Any

import numpy as np
from scipy import linalg

from selfguide.boxes.found import FoundBox, check, component
from selfguide.core.errors import UserError


def token_cut_box(
    keys: Any,
    grid: tuple[int, int],
    scales: tuple[float, float],
    image_hw: tuple[int, int],
    tau: float = 0.2,
    eps: float = 1e-5,
) -> FoundBox:
    """Cut the patches into two sides that agree little, and take the side of the patch that stands out most.

    An edge weighs 1 where the cosine of two keys is above tau, else eps. The second eigenvector of
    (D - W) y = lambda D y (Shi & Malik, 2000) is split at its mean; the seed is its entry of largest magnitude; the
    object is the seed's component, over 4 neighbours, of the seed's side. Time grows with N^3: 0.1 s at 1200 patches.

    Args:
        keys: (N, D) array or tensor, see `selfguide.backbone.vit_keys`; cosines are computed in float32, the
            eigenvector in float64.
        grid: rows and columns of patches, row by row; N of them, padding included.
        scales: pixels per patch along y and x.
        image_hw: height and width of the image without padding; the box's x1 and y1 are clipped to it.
        tau: least cosine of an edge.
        eps: weight of the other edges, which keeps the graph connected.

    Returns:
        `fallback` is set, with the whole image and no seed, if there is nothing to cut: all edges between different
        patches weigh the same (all keys alike, all unlike, or at most two patches), so every vector is an eigenvector.

    Raises:
        UserError: shapes that do not fit one another; keys that are not finite or overflow in float32; tau not
            finite; eps outside of ]0, 1[.
    """
    found, geometry = check("token_cut_box", keys, grid, scales, image_hw)
    if not np.isfinite(tau) or not 0 < eps < 1:
        raise UserError(f"token_cut_box: expected a finite tau and 0 < eps < 1, found {tau!r} and {eps!r}")
    # A zero key has cosine 0 to all, itself included; the floor is that of torch.nn.functional.normalize.
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.square(found).sum(axis=1, keepdims=True))
    if not np.isfinite(norms).all():
        raise UserError(
            f"token_cut_box: norms of keys up to {np.abs(found).max():.1e} overflow float32; scale them down"
        )
    unit = found / np.maximum(norms, np.float32(1e-12))
    close = unit @ unit.T > np.float32(tau)
    off_diagonal = int(close.sum()) - int(close.diagonal().sum())
    if off_diagonal in (0, len(close) * (len(close) - 1)):
        return geometry.whole(seed=None)
    weights = np.where(close, 1.0, eps)
    degrees = weights.sum(axis=1)
    # [1, 2] though one is used: the authors ask for both, and LAPACK's digits depend on what it is asked for.
    _, vectors = linalg.eigh(np.diag(degrees) - weights, np.diag(degrees), subset_by_index=[1, 2])
    second = vectors[:, 0]
    side = second > second.mean()
    seed = int(np.argmax(np.abs(second)))
    if not side[seed]:
        side = ~side
    mask = component(side.reshape(geometry.grid), seed)
    return FoundBox(geometry.box(mask), seed, mask, fallback=False)
