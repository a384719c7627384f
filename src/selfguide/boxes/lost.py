"""LOST: the box of one object from a vision transformer's keys, without training (Simeoni et al., BMVC 2021)."""

from typing import Any

import numpy as np

from selfguide.boxes.found import FoundBox, check, component
from selfguide.core.errors import UserError


def lost_box(
    keys: Any,
    grid: tuple[int, int],
    scales: tuple[float, float],
    image_hw: tuple[int, int],
    k_patches: int = 100,
) -> FoundBox:
    """Grow an object from the patch that agrees with the fewest others.

    As the authors' code has it where that differs from their paper: a patch's degree counts the *strictly* positive
    dot products with other patches; the seed is the patch of the lowest degree; of the `k_patches` patches of lowest
    degree those with a positive product with the seed vote, with the products' values, on every patch; the object is
    the seed's component, over 4 neighbours, of the patches with a positive sum. Ties go to the lowest index, where the
    authors' order depends on the machine.

    Args:
        keys: (N, D) array or tensor, see `selfguide.backbone.vit_keys`; products are computed in float32.
        grid: rows and columns of patches, row by row; N of them, padding included.
        scales: pixels per patch along y and x.
        image_hw: height and width of the image without padding; the box's x1 and y1 are clipped to it.
        k_patches: the paper's k; more than N means all.

    Returns:
        `fallback` is set, and the box is the whole image, if there is one patch alone, or if the seed's key is zero and
        thus agrees with nothing, itself included; it is set beside the patch 0 if no two patches agree.

    Raises:
        UserError: shapes that do not fit one another; keys that are not finite or overflow in float32; k_patches < 1.
    """
    found, geometry = check("lost_box", keys, grid, scales, image_hw)
    if isinstance(k_patches, bool) or not isinstance(k_patches, (int, np.integer)) or k_patches < 1:
        raise UserError(f"lost_box: k_patches: expected a whole number from 1, found {k_patches!r}")
    if len(found) == 1:
        return geometry.whole(seed=0)  # no other patch to agree with
    with np.errstate(over="ignore", invalid="ignore"):
        products = found @ found.T
    if not np.isfinite(products).all():
        raise UserError(f"lost_box: products of keys up to {np.abs(found).max():.1e} overflow float32; scale them down")
    positive = products > 0
    degrees = positive.sum(axis=1) - positive.diagonal()
    order = np.argsort(degrees, kind="stable")
    seed = int(order[0])
    candidates = order[:k_patches]
    voters = candidates[positive[seed, candidates]]
    if not len(voters):
        return geometry.whole(seed)
    votes = products[voters].sum(axis=0)
    mask = component((votes > 0).reshape(geometry.grid), seed)
    return FoundBox(geometry.box(mask), seed, mask, fallback=not degrees.any())
