"""A trained model, ready to sample from Python: `selfguide.load("models/checkpoint").sample(ids=[3, 3], w=2)`."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfguide.core.arguments import plain, real_number, spelled, whole_number
from selfguide.core.artifact import Array
from selfguide.core.config import MAX_W, StrictModel, parse
from selfguide.core.errors import UserError
from selfguide.core.workers import in_threads, num_parts
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.network import Network
from selfguide.denoiser.schedule import alpha_bar
from selfguide.samples.config import MAX_BATCH, Sampling
from selfguide.samples.guidance import acts_at, guided_model
from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.registry import SAMPLERS
from selfguide.samples.solver import solve
from selfguide.signal.asked import Boxes, Ids, Masks, asked
from selfguide.signal.condition import BatchCondition
from selfguide.signal.render import Renderer

log = logging.getLogger(__name__)

#: What `Generator.sample` takes where nothing is said.
DEFAULTS = Sampling(sampler="ddim", num_steps=50, eta=0.0, guidance_interval=None, guiding="null_condition", clip=True)


class _Settings(StrictModel):
    samples: Sampling


def as_sampling(settings: dict[str, Any]) -> Sampling:
    """Settings of a caller, and `DEFAULTS` for the others; numbers of numpy and torch will do.

    Raises:
        UserError: not settings of `Sampling`, or out of range.
    """
    values = {key: plain(value) for key, value in settings.items()}
    for key, value in values.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            raise UserError(f"samples.{key}: expected a value as in params.yaml, found {spelled(value)}") from None
    return parse(_Settings, {"samples": {**DEFAULTS.model_dump(), **values}}, "sample").samples


class Generator:
    """Draws images; stateless between calls.

    Args:
        denoiser: what the network is.
        network: of `denoiser.build`.
        weak: the network of `denoiser.weak`, for autoguidance.

    Attributes:
        form: of the signal that guides the model: whether ids come with boxes, say.
        num_ids: K; ids run from 0 to K - 1, and -1 is the null condition.
        image_size: side in pixels.
    """

    def __init__(self, denoiser: Denoiser, network: Network, weak: Network | None = None) -> None:
        self.network, self.weak, self.task = network, weak, denoiser.task
        self.form, self.space = denoiser.task.form, denoiser.task.space
        self.num_ids, self.image_size = self.form.num_ids, self.space.image_size
        self.abar = alpha_bar(denoiser.task.schedule, denoiser.task.num_timesteps)

    def sample(
        self,
        ids: Ids | None = None,
        w: float = 2.0,
        num_steps: int = DEFAULTS.num_steps,
        seed: int = 0,
        *,
        boxes: Boxes | None = None,
        masks: Masks | None = None,
        first_index: int = 0,
        batch_size: int = 256,
        **sampling: Any,
    ) -> Array:
        """Draw one image per id, or per id and box.

        Args:
            ids: condition ids, 0..K-1 or -1 = null, (M,); for a model of images with several classes also lists of
                ids. One id goes with all boxes or masks. None: the classes that each mask holds.
            w: guidance strength; 0 = unconditional (or the weak model), 1 = conditional.
            num_steps: denoising steps, 1..T.
            seed: image i is a function of (seed, first_index + i), its id and boxes, w and the sampler's settings.
            boxes: where the object is to be: x0, y0, x1, y1 in pixels, half-open, (M, 4), or (M, O, 4) for several;
                0, 0, 0, 0 = none. One box goes with all ids. For models of boxed guidance alone, which need them.
            masks: the class of each pixel, 0..K-1, or 255 for none: uint8 (M, S, S), or (S, S) for all ids. For models
                of segmented guidance alone, which need them.
            first_index: index of the first image.
            batch_size: images per call of the network.
            sampling: further settings of `selfguide.samples.config.Sampling`: sampler="ddim", eta=0.0, clip=True,
                guidance_interval=None, guiding="null_condition".

        Returns:
            uint8 (M, S, S, 3).

        Raises:
            UserError: an id, a place or a setting out of range, or places missing or not of use.
        """
        signal = asked(self.form, ids, {"boxes": boxes, "masks": masks})
        settings = as_sampling({"num_steps": num_steps, **sampling})
        self.check(settings)
        w = real_number("w", w, -MAX_W, MAX_W)
        seed = whole_number("seed", seed, -(2**63), 2**63 - 1)
        first_index = whole_number("first_index", first_index, 0, 10**12)
        batch_size = whole_number("batch_size", batch_size, 1, MAX_BATCH)
        device = next(self.network.parameters()).device
        conditions, indices = Renderer(signal, self.space.side), torch.arange(first_index, first_index + len(signal))
        parts = []
        for start in range(0, len(signal), batch_size):
            rows = slice(start, start + batch_size)
            images = self.sample_batch(conditions(rows).to(device), indices[rows], seed, w, settings)
            parts.append(images.cpu().numpy())
        return np.concatenate(parts)

    def check(self, sampling: Sampling) -> None:
        """Check settings against the model, and say in the log where guidance never acts.

        Raises:
            UserError: more steps than the model has, or a weak model that is not there.
        """
        levels = Levels.of(self.abar, sampling.num_steps)
        if sampling.guiding == "weak_model" and self.weak is None:
            raise UserError(
                "samples.guiding: weak_model needs a weak model beside the checkpoint, and there is none: set"
                " checkpoint.weak_model and run `dvc repro checkpoint`, or use samples.guiding: null_condition"
            )
        if not any(acts_at(levels, sampling.guidance_interval)):
            noise = levels.noise_level
            log.warning(
                "samples: none of the %d steps lies in samples.guidance_interval %s, so w = 1 throughout; their noise"
                " levels are %.4g to %.4g", len(levels), list(sampling.guidance_interval or ()), noise[-2], noise[0],
            )  # fmt: skip

    @torch.no_grad()
    def sample_batch(
        self, c: BatchCondition, indices: Tensor, seed: int, w: float, sampling: Sampling, num_states: int = 0
    ) -> Tensor:
        """One batch.

        Args:
            c: conditions of B images, on the network's device.
            indices: of the images in the whole sample, int64 (B,), on the CPU.
            seed: of the noise.
            w: guidance strength.
            sampling: checked by `check`.
            num_states: above 0, so many states of each image on its way from noise, evenly in steps, the image last.

        Returns:
            uint8 (B, S, S, 3), or (B, num_states, S, S, 3), on the network's device.
        """
        levels, device = Levels.of(self.abar, sampling.num_steps), c.ids.device
        weak = self.weak if sampling.guiding == "weak_model" else None
        bounds = self.space.bounds if sampling.clip else None
        kept = torch.linspace(0, len(levels), num_states).round().int().tolist() if num_states else []

        def draw(rows: Tensor) -> Tensor:
            noise = ImageNoise(seed, indices[rows].tolist(), self.space.shape, device)
            here = c[rows.to(device)]
            model = guided_model(self.network, self.task.prediction, levels, here, w, sampling.guidance_interval, weak)
            solver, states = SAMPLERS[sampling.sampler](levels, sampling.eta, device), dict[int, Tensor]()

            def watch(i: int, x: Tensor) -> None:
                if i in kept:
                    states[i] = self.space.to_pixels(x)

            drawn = solve(solver, model, levels, noise, bounds, watch if kept else None)
            return torch.stack([states[i] for i in kept], dim=1) if kept else self.space.to_pixels(drawn)

        # Images do not depend on each other: on a CPU each thread takes some through the whole schedule.
        rows = torch.arange(len(c)).tensor_split(num_parts(device, len(c)))
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
