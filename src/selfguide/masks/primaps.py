"""PriMaPs (Hahn et al., TMLR 2024): masks of one image from the leading component of what is not masked yet."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from selfguide.masks.axes import leading_axes


@torch.no_grad()
def primaps(features: Tensor, threshold: float = 0.4, coverage: float = 0.95) -> Tensor:
    """Cut a map into masks, one after the other.

    Each time: the first principal component of the positions that have no mask, the feature among them that is nearest
    to it, up to the sign, as seed, and as a mask those whose cosine with the seed is at least `threshold` of the
    largest.

    Args:
        features: (C, h, w).
        threshold: share of the largest cosine.
        coverage: share of the positions at which it ends; the rest joins the mask of the most similar seed.

    Returns:
        int64 (h, w), the number of each position's mask, in the order found.
    """
    height, width = features.shape[1:]
    vectors = F.normalize(features.flatten(1).T.float(), dim=1)
    masks = torch.full((len(vectors),), -1, device=vectors.device)
    seeds: list[Tensor] = []
    while not seeds or (masks >= 0).float().mean() < coverage:
        left = (masks < 0).nonzero()[:, 0]
        own = vectors[left]
        seed = own[(own @ _first_component(own)).abs().argmax()]
        agreement = own @ seed
        masks[left[agreement >= threshold * agreement.max()]] = len(seeds)
        seeds.append(seed)
    left = masks < 0
    masks[left] = (vectors[left] @ torch.stack(seeds).T).argmax(dim=1)
    return masks.view(height, width)


def _first_component(vectors: Tensor) -> Tensor:
    """(n, C) => (C,), of any length and sign; from the smaller of the two products, as few positions may be left."""
    centred = vectors - vectors.mean(dim=0)
    rows, columns = centred.shape
    product = centred @ centred.T if rows < columns else centred.T @ centred
    axis = leading_axes(product, 1)[:, 0].to(centred)
    return centred.T @ axis if rows < columns else axis


def majority(masks: Tensor) -> Tensor:
    """The median of a 3 x 3 neighbourhood, by numbers that say an order of importance: int64 (h, w) => (h, w)."""
    padded = F.pad(masks[None, None].float(), (1, 1, 1, 1), mode="replicate")
    return F.unfold(padded, 3).median(dim=1).values.long().view(masks.shape)


class PrimapsCode(nn.Module):
    """Each position's feature replaced by the mean of its mask's, of unit length each."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) => the same shape."""
        found = []
        for own in F.normalize(maps, dim=1):
            masks = majority(primaps(own)).flatten()
            flat = own.flatten(1).T
            sums = flat.new_zeros(int(masks.max()) + 1, flat.shape[1]).index_add_(0, masks, flat)
            found.append(F.normalize(sums, dim=1)[masks].T.view_as(own))
        return torch.stack(found)
