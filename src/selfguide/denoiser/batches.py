"""What one training step sees, as a function of (seed, step, position in the global batch) and of nothing else.

A resumed run therefore repeats an uninterrupted one, and R ranks see together what one would see alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfguide.condition.mask import box_masks
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.pixels import to_float
from selfguide.core.seeding import derive_seed, numpy_generator

_CHUNK = 65_536


def _resident(pixels: Array, device: torch.device) -> Array | Tensor:
    """The images on a GPU that has three times their size free; else as they are, memory-mapped, to travel by batch."""
    if device.type != "cuda" or 3 * pixels.nbytes > torch.cuda.mem_get_info(device)[0]:
        return pixels
    images = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pixels), _CHUNK):
        images[start : start + _CHUNK] = torch.from_numpy(np.array(pixels[start : start + _CHUNK]))
    return images


@dataclass(frozen=True)
class Batch:
    """One rank's share of a training batch; b images."""

    x0: Tensor
    """Float (b, 3, H, W) in [-1, 1]."""
    ids: Tensor
    """Int64 (b,), -1 = null condition (dropped, or never known); or (b, L), sets of ids, -1 = none."""
    t: Tensor
    """Int64 (b,), time steps."""
    eps: Tensor
    """Float (b, 3, H, W), standard normal."""
    mask: Tensor | None = None
    """Float (b, 1, H, W) of 0 and 1, the boxes; zeros where the condition was dropped. None: the condition has none."""


class Batches:
    """Draws batches.

    Args:
        pixels: uint8 (N, S, S, 3).
        ids: int32 (N,), -1 = null; or (N, L), sets of ids, -1 = none.
        batch_size: images of the global batch; must be divisible by `world_size`.
        num_timesteps: T.
        drop_prob: probability of the null condition.
        flip: mirror half of the images.
        seed: the run's seed.
        rank: this process.
        world_size: number of processes.
        device: where batches are made.
        boxes: of each image, int (N, O, 4), half-open x0, y0, x1, y1 in pixels of the square, empty = none; None: the
            condition has no masks.

    Raises:
        UserError: another number of ids or boxes than of images.
    """

    def __init__(
        self,
        pixels: Array,
        ids: Array,
        *,
        batch_size: int,
        num_timesteps: int,
        drop_prob: float,
        flip: bool,
        seed: int,
        rank: int,
        world_size: int,
        device: torch.device,
        boxes: Array | None = None,
    ) -> None:
        for name, array in (("ids", ids), ("boxes", boxes)):
            if array is not None and len(array) != len(pixels):
                raise UserError(
                    f"data/condition: {len(array)} {name}, data/images has {len(pixels)} images;"
                    " run `dvc repro condition`"
                )
        self.pixels = _resident(pixels, device)
        self.ids = torch.from_numpy(np.array(ids)).to(device, torch.int64)
        self.boxes = None if boxes is None else torch.from_numpy(np.array(boxes)).to(device)
        self.batch_size, self.num_timesteps = batch_size, num_timesteps
        self.drop_prob, self.flip, self.seed, self.device = drop_prob, flip, seed, device
        share = batch_size // world_size
        self.mine = slice(rank * share, (rank + 1) * share)
        self.generator = torch.Generator(device)
        self._orders: dict[int, Array] = {}

    def _order(self, epoch: int) -> Array:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = numpy_generator(self.seed, "order", epoch).permutation(len(self.ids))
        return self._orders[epoch]

    def rows(self, step: int) -> Array:
        """Which images the whole batch of `step` holds: int64 (batch_size,); each epoch visits every image once."""
        positions = step * self.batch_size + np.arange(self.batch_size)
        epochs, places = np.divmod(positions, len(self.ids))
        return np.concatenate([self._order(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    def __call__(self, step: int) -> Batch:
        """The batch of a step, this rank's share of it."""
        rows = self.rows(step)[self.mine]
        if isinstance(self.pixels, Tensor):
            images = self.pixels[torch.from_numpy(rows).to(self.device, non_blocking=True)]
        else:
            images = torch.from_numpy(self.pixels[rows]).to(self.device, non_blocking=True)
        x0 = to_float(images)
        # Drawn for the whole batch, then cut: what an image gets does not depend on the number of ranks.
        draw = self.generator.manual_seed(derive_seed(self.seed, "step", step))
        whole = self.batch_size
        t = torch.randint(self.num_timesteps, (whole,), generator=draw, device=self.device)[self.mine]
        drop = torch.rand(whole, generator=draw, device=self.device)[self.mine] < self.drop_prob
        mirror = torch.rand(whole, generator=draw, device=self.device)[self.mine] < 0.5
        eps = torch.randn(whole, *x0.shape[1:], generator=draw, device=self.device)[self.mine]
        places = torch.from_numpy(rows).to(self.device)
        ids = self.ids[places]
        ids = ids.masked_fill(drop.view(-1, *[1] * (ids.ndim - 1)), -1)
        mask = None
        if self.boxes is not None:
            # The same draw drops ids and boxes: the null condition is the lack of both.
            mask = box_masks(self.boxes[places].masked_fill(drop[:, None, None], 0), x0.shape[-1])
        if self.flip:
            x0, mask = _mirrored(x0, mirror), None if mask is None else _mirrored(mask, mirror)
        return Batch(x0=x0, ids=ids, t=t, eps=eps, mask=mask)


def _mirrored(maps: Tensor, which: Tensor) -> Tensor:
    """Those of (b, C, H, W) that (b,) says, mirrored."""
    return torch.where(which[:, None, None, None], maps.flip(-1), maps)
