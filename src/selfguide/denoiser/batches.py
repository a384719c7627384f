"""What one training step sees, as a function of (seed, step, position in the global batch) and of nothing else.

A resumed run therefore repeats an uninterrupted one, and R ranks see together what one would see alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.resident import Resident
from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.denoiser.config import DenoiserConfig
from selfguide.signal.condition import BatchCondition, mirrored
from selfguide.signal.render import Renderer
from selfguide.signal.signal import Signal
from selfguide.space.space import Encoded


@dataclass(frozen=True)
class Batch:
    """One rank's share of a training batch; b images."""

    x0: Tensor
    """Float (b, C, h, w), clean maps of the space."""
    c: BatchCondition
    """Of the images; null where it was dropped, or never known."""
    t: Tensor
    """Int64 (b,), time steps."""
    eps: Tensor
    """Float (b, C, h, w), standard normal."""


class Batches:
    """Draws batches.

    Args:
        images: N of them.
        signal: what guides them.
        config: batch size of all ranks together, number of time steps, drops and flips.
        seed: the run's seed.
        device: where batches are made.
        rank: this process.
        world_size: number of processes; divides the batch size.
    """

    def __init__(
        self, images: Encoded, signal: Signal, config: DenoiserConfig, seed: int, device: torch.device, *,
        rank: int = 0, world_size: int = 1,
    ) -> None:  # fmt: skip
        self.space, self.config, self.seed, self.device = images.space, config, seed, device
        self.num_images = len(signal)
        self.stored = Resident(images.rows, device)
        self.conditions = Renderer(signal, images.space.side, device)
        share = config.batch_size // world_size
        self.mine = slice(rank * share, (rank + 1) * share)
        self.generator = torch.Generator(device)
        self._orders: dict[int, Array] = {}

    def _order(self, epoch: int) -> Array:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = numpy_generator(self.seed, "order", epoch).permutation(self.num_images)
        return self._orders[epoch]

    def rows(self, step: int) -> Array:
        """Which images the whole batch of `step` holds: int64 (batch_size,); each epoch visits every image once."""
        positions = step * self.config.batch_size + np.arange(self.config.batch_size)
        epochs, places = np.divmod(positions, self.num_images)
        return np.concatenate([self._order(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    def __call__(self, step: int) -> Batch:
        """The batch of a step, this rank's share of it."""
        rows = self.rows(step)[self.mine]
        # Drawn for the whole batch, then cut: what an image gets does not depend on the number of ranks.
        draw, whole = self.generator.manual_seed(derive_seed(self.seed, "step", step)), self.config.batch_size

        def normal(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(whole, *shape, generator=draw, device=self.device)[self.mine]

        def uniform() -> Tensor:
            return torch.rand(whole, generator=draw, device=self.device)[self.mine]

        t = torch.randint(self.config.num_timesteps, (whole,), generator=draw, device=self.device)[self.mine]
        drop, mirror = uniform() < self.config.condition_drop_prob, uniform() < 0.5
        eps = normal(self.space.shape)
        x0 = self.space.to_x0(self.stored(rows), None if self.space.noise is None else normal(self.space.noise))
        c = self.conditions(rows).drop(drop)
        if self.config.horizontal_flip:
            x0, c = mirrored(x0, mirror), c.mirror(mirror)
        return Batch(x0=x0, c=c, t=t, eps=eps)
