"""What one training step sees, as a function of (seed, step, position in the global batch) and of nothing else.

A resumed run therefore repeats an uninterrupted one, and R ranks see together what one would see alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array
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
    """Int64 (b,), -1 = null condition (dropped, or never known)."""
    t: Tensor
    """Int64 (b,), time steps."""
    eps: Tensor
    """Float (b, 3, H, W), standard normal."""


class Batches:
    """Draws batches.

    Args:
        pixels: uint8 (N, S, S, 3).
        ids: int32 (N,), -1 = null.
        batch_size: images of the global batch; must be divisible by `world_size`.
        num_timesteps: T.
        drop_prob: probability of the null condition.
        flip: mirror half of the images.
        seed: the run's seed.
        rank: this process.
        world_size: number of processes.
        device: where batches are made.
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
    ) -> None:
        self.pixels = _resident(pixels, device)
        self.ids = torch.from_numpy(np.array(ids)).to(device, torch.int64)
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
        if self.flip:
            x0 = torch.where(mirror[:, None, None, None], x0.flip(-1), x0)
        ids = self.ids[torch.from_numpy(rows).to(self.device)].masked_fill(drop, -1)
        return Batch(x0=x0, ids=ids, t=t, eps=eps)
