"""Boxes as masks."""

import torch
from torch import Tensor


def box_masks(boxes: Tensor, size: int) -> Tensor:
    """The union of each image's boxes as a picture of 0 and 1.

    Args:
        boxes: x0, y0, x1, y1, half-open, in pixels of the square; integers (B, O, 4), or (B, 4). A box without an
            inside counts for nothing; what lies outside of the square is cut off.
        size: side S in pixels.

    Returns:
        float32 (B, 1, S, S), on the boxes' device.
    """
    several = boxes if boxes.ndim == 3 else boxes[:, None]
    x0, y0, x1, y1 = several[..., None].unbind(2)  # each (B, O, 1)
    cells = torch.arange(size, device=boxes.device)
    columns = ((cells >= x0) & (cells < x1)).float()  # (B, O, S)
    rows = ((cells >= y0) & (cells < y1)).float()
    # A sum over boxes, without a picture of each; any cell that is covered has at least 1, in any precision.
    return (torch.bmm(rows.mT, columns) > 0).float()[:, None]
