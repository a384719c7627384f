"""A trained model, ready to sample from Python: `selfguide.load("models/checkpoint").sample(ids=[3, 3], w=2)`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.core.artifact import Array
from selfguide.core.config import nearest
from selfguide.core.errors import UserError
from selfguide.core.pixels import to_uint8
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.schedule import alpha_bar
from selfguide.samples.guidance import guided_model
from selfguide.samples.noise import ImageNoise
from selfguide.samples.registry import SAMPLERS


class Generator:
    """Draws images; stateless between calls.

    Attributes:
        num_ids: K; ids run from 0 to K - 1, and -1 is the null condition.
        image_size: side in pixels.
    """

    def __init__(self, denoiser: Denoiser, network: nn.Module) -> None:
        self.network, self.prediction = network, denoiser.prediction
        self.num_ids: int = denoiser.network["num_ids"]
        self.image_size: int = denoiser.network["image_size"]
        self.abar = alpha_bar(denoiser.schedule, denoiser.num_timesteps).float()

    def sample(
        self,
        ids: Sequence[int] | Array,
        w: float = 2.0,
        num_steps: int = 50,
        seed: int = 0,
        *,
        sampler: str = "ddim",
        eta: float = 0.0,
        clip: bool = True,
        first_index: int = 0,
        batch_size: int = 256,
    ) -> Array:
        """Draw one image per id.

        Args:
            ids: condition ids, 0..K-1 or -1 = null, (M,).
            w: guidance strength; 0 = unconditional, 1 = conditional.
            num_steps: denoising steps, 1..T.
            seed: image i is a function of (seed, first_index + i), its id, w and the sampler's settings.
            sampler: a key of `selfguide.samples.registry.SAMPLERS`.
            eta: share of fresh noise per DDIM step.
            clip: clip x_0 to [-1, 1] at each step.
            first_index: index of the first image.
            batch_size: images per call of the network.

        Returns:
            uint8 (M, S, S, 3).

        Raises:
            UserError: an id or a setting out of range.
        """
        chosen = self.check_ids(ids)
        device = next(self.network.parameters()).device
        parts = []
        for start in range(0, len(chosen), batch_size):
            part = torch.from_numpy(chosen[start : start + batch_size]).to(device)
            images = self.sample_batch(part, w, num_steps, seed, sampler, eta, clip, first_index + start)
            parts.append(images.cpu().numpy())
        return np.concatenate(parts)

    def check_ids(self, ids: Sequence[int] | Array) -> Array:
        """The ids as int64 (M,).

        Raises:
            UserError: empty, not whole numbers, or outside -1..K-1.
        """
        chosen = np.asarray(ids)
        if chosen.ndim != 1 or not len(chosen) or not np.issubdtype(chosen.dtype, np.integer):
            raise UserError(f"ids: expected a list of whole numbers, found {chosen.dtype} of shape {chosen.shape}")
        bad = chosen[(chosen < -1) | (chosen >= self.num_ids)]
        if len(bad):
            raise UserError(f"ids: expected -1 (null) to {self.num_ids - 1}, found {int(bad[0])}")
        return chosen.astype(np.int64)

    @torch.no_grad()
    def sample_batch(
        self, ids: Tensor, w: float, num_steps: int, seed: int, sampler: str, eta: float, clip: bool, first_index: int
    ) -> Tensor:
        """One batch on the ids' device: int64 (B,) => uint8 (B, S, S, 3); arguments as in `sample`."""
        if sampler not in SAMPLERS:
            known = sorted(SAMPLERS)
            raise UserError(f"sampler: unknown '{sampler}'; known: {', '.join(known)}{nearest(sampler, known)}")
        abar = self.abar.to(ids.device)
        shape = (3, self.image_size, self.image_size)
        noise = ImageNoise(seed, range(first_index, first_index + len(ids)), shape, ids.device)
        model = guided_model(self.network, self.prediction, abar, ids, w)
        return to_uint8(SAMPLERS[sampler](model, noise, abar, num_steps, eta, clip))


def load(folder: str | Path, weights: str = "ema", device: str = "cpu") -> Generator:
    """Load a trained model.

    Args:
        folder: `models/checkpoint` or `models/denoiser`.
        weights: "ema" or "raw".
        device: torch device name.

    Raises:
        UserError: missing or damaged files.
    """
    denoiser = Denoiser.load(folder)
    return Generator(denoiser, denoiser.build(weights).to(device))
