"""From a signal on disk to the condition of a batch; nothing else draws places."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.resident import Resident
from selfguide.signal.condition import BatchCondition
from selfguide.signal.signal import Form, Signal


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


def one_hot(masks: Tensor, num_classes: int) -> Tensor:
    """Classes (B, S, S), 0..K-1, as float32 (B, K, S, S), a channel each; what is none of them, as void, has none."""
    return (masks[:, None] == torch.arange(num_classes, device=masks.device).view(-1, 1, 1)).float()


#: Of each kind of place: (rows, form) => its channels, float32 (B, form.channels, form.side, form.side), 0..1.
DRAWN: dict[str, Callable[[Tensor, Form], Tensor]] = {
    "boxes": lambda rows, form: box_masks(rows, form.side),
    "masks": lambda rows, form: one_hot(rows, form.channels),
}


class Renderer:
    """Makes conditions of batches from rows of a signal.

    Args:
        signal: of N images.
        side: of the denoiser's maps; where it is not that of the signal, maps are averaged over areas.
        device: where conditions are made.
    """

    def __init__(self, signal: Signal, side: int, device: torch.device | str = "cpu") -> None:
        self.form, self.side = signal.form, side
        self.ids = Resident(signal.ids, torch.device(device))
        self.where = None if signal.where is None else Resident(signal.where, torch.device(device))

    def __call__(self, rows: Array | slice) -> BatchCondition:
        """The condition of the images at these rows."""
        ids = self.ids(rows).long()
        if self.where is None or self.form.where is None:
            return BatchCondition(ids)
        maps = DRAWN[self.form.where](self.where(rows), self.form)
        if self.side != self.form.side:
            maps = F.interpolate(maps, size=(self.side, self.side), mode="area")
        return BatchCondition(ids, maps)


def render(signal: Signal, side: int) -> BatchCondition:
    """The condition of all images of a signal, on the CPU."""
    return Renderer(signal, side)(np.arange(len(signal)))
