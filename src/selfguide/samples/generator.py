"""A trained model, ready to sample from Python: `selfguide.load("models/checkpoint").sample(ids=[3, 3], w=2)`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.core.artifact import Array
from selfguide.core.config import nearest
from selfguide.core.errors import UserError
from selfguide.core.pixels import to_uint8
from selfguide.core.workers import in_threads, num_parts
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.schedule import alpha_bar
from selfguide.samples.config import SamplesConfig, check_interval
from selfguide.samples.guidance import acts_at, guided_model
from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.registry import SAMPLERS
from selfguide.samples.solver import solve

log = logging.getLogger(__name__)

GUIDING = ("null_condition", "weak_model")


@dataclass(frozen=True)
class Settings:
    """What decides an image beside its seed, index and id; the keys of `SamplesConfig` and the dial w."""

    w: float
    sampler: str
    num_steps: int
    eta: float
    clip: bool
    guidance_interval: tuple[float, float] | None
    guiding: str

    @classmethod
    def of(cls, config: SamplesConfig, w: float) -> "Settings":
        """Those of a `samples` section."""
        return cls(
            w,
            config.sampler,
            config.num_steps,
            config.eta,
            config.clip,
            config.guidance_interval,
            config.guiding,
        )


class Generator:
    """Draws images; stateless between calls.

    Args:
        denoiser: what the network is.
        network: of `denoiser.build`.
        weak: the network of `denoiser.weak`, for autoguidance.

    Attributes:
        num_ids: K; ids run from 0 to K - 1, and -1 is the null condition.
        image_size: side in pixels.
    """

    def __init__(self, denoiser: Denoiser, network: nn.Module, weak: nn.Module | None = None) -> None:
        self.network, self.weak, self.prediction = network, weak, denoiser.prediction
        self.num_ids: int = denoiser.network["num_ids"]
        self.image_size: int = denoiser.network["image_size"]
        self.abar = alpha_bar(denoiser.schedule, denoiser.num_timesteps)

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
        guidance_interval: tuple[float, float] | None = None,
        guiding: str = "null_condition",
        first_index: int = 0,
        batch_size: int = 256,
    ) -> Array:
        """Draw one image per id.

        Args:
            ids: condition ids, 0..K-1 or -1 = null, (M,).
            w: guidance strength; 0 = unconditional (or the weak model), 1 = conditional.
            num_steps: denoising steps, 1..T.
            seed: image i is a function of (seed, first_index + i), its id, w and the sampler's settings.
            sampler: a key of `selfguide.samples.registry.SAMPLERS`.
            eta: share of fresh noise per DDIM step.
            clip: clip x_0 to [-1, 1] at each step.
            guidance_interval: noise levels (low, high), sigma = sqrt((1 - abar) / abar), at which guidance acts; at the
                others w = 1. None = at all.
            guiding: "null_condition", or "weak_model" where the model has one (checkpoint.weak_model).
            first_index: index of the first image.
            batch_size: images per call of the network.

        Returns:
            uint8 (M, S, S, 3).

        Raises:
            UserError: an id or a setting out of range.
        """
        chosen = torch.from_numpy(self.check_ids(ids))
        settings = Settings(w, sampler, num_steps, eta, clip, guidance_interval, guiding)
        self.check_settings(settings)
        device = next(self.network.parameters()).device
        indices = torch.arange(first_index, first_index + len(chosen))
        parts = []
        for start in range(0, len(chosen), batch_size):
            rows = slice(start, start + batch_size)
            images = self.sample_batch(chosen[rows].to(device), indices[rows], seed, settings)
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

    def check_settings(self, settings: Settings) -> None:
        """Check the settings once for all batches, and say in the log where guidance never acts.

        Raises:
            UserError: an unknown name, num_steps or an interval out of range, or a weak model that is not there.
        """
        for key, found, known in (("sampler", settings.sampler, SAMPLERS), ("guiding", settings.guiding, GUIDING)):
            if found not in known:
                valid = ", ".join(known)
                raise UserError(f"samples.{key}: unknown '{found}'; known: {valid}{nearest(found, list(known))}")
        try:
            interval = check_interval(settings.guidance_interval)
        except ValueError as error:
            raise UserError(f"samples.guidance_interval: {error}, found {settings.guidance_interval}") from None
        if settings.guiding == "weak_model" and self.weak is None:
            raise UserError(
                "samples.guiding: weak_model needs a weak model beside the checkpoint, and there is none: set"
                " checkpoint.weak_model and run `dvc repro checkpoint`, or use samples.guiding: null_condition"
            )
        levels = Levels.of(self.abar, settings.num_steps)
        if not any(acts_at(levels, interval)):
            noise = levels.noise_level
            log.warning(
                "samples: none of the %d steps lies in samples.guidance_interval %s, so w = 1 throughout; their noise"
                " levels are %.4g to %.4g", len(levels), list(interval or ()), noise[-2], noise[0],
            )  # fmt: skip

    @torch.no_grad()
    def sample_batch(self, ids: Tensor, indices: Tensor, seed: int, settings: Settings) -> Tensor:
        """One batch.

        Args:
            ids: int64 (B,), on the network's device; -1 = null.
            indices: of the images in the whole sample, int64 (B,), on the CPU.
            seed: of the noise.
            settings: checked by `check_settings`.

        Returns:
            uint8 (B, S, S, 3), on the network's device.
        """
        levels = Levels.of(self.abar, settings.num_steps)
        weak = self.weak if settings.guiding == "weak_model" else None
        shape = (3, self.image_size, self.image_size)

        def draw(rows: Tensor) -> Tensor:
            noise = ImageNoise(seed, indices[rows].tolist(), shape, ids.device)
            model = guided_model(
                self.network, self.prediction, levels, ids[rows.to(ids.device)], settings.w,
                settings.guidance_interval, weak,
            )  # fmt: skip
            solver = SAMPLERS[settings.sampler](levels, settings.eta, ids.device)
            return to_uint8(solve(solver, model, levels, noise, settings.clip))

        # Images do not depend on each other: on a CPU each thread takes some through the whole schedule.
        rows = torch.arange(len(ids)).tensor_split(num_parts(ids.device, len(ids)))
        return torch.cat(in_threads(draw, rows))


def load(folder: str | Path, weights: str = "ema", device: str = "cpu") -> Generator:
    """Load a trained model, and its weak model where it has one.

    Args:
        folder: `models/checkpoint` or `models/denoiser`.
        weights: "ema" or "raw".
        device: torch device name.

    Raises:
        UserError: missing or damaged files.
    """
    denoiser = Denoiser.load(folder)
    weak = denoiser.weak()
    return Generator(
        denoiser, denoiser.build(weights).to(device), None if weak is None else weak.build(weights).to(device)
    )
