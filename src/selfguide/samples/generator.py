"""A trained model, ready to sample from Python: `selfguide.load("models/checkpoint").sample(ids=[3, 3], w=2)`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.condition.mask import box_masks
from selfguide.core.artifact import Array
from selfguide.core.config import MAX_W, nearest
from selfguide.core.errors import UserError
from selfguide.core.pixels import to_uint8
from selfguide.core.workers import in_threads, num_parts
from selfguide.denoiser.artifact import Denoiser
from selfguide.denoiser.schedule import alpha_bar
from selfguide.samples.arguments import numbers, real_number, shown, whole_number
from selfguide.samples.conditions import Boxes, Conditions, Ids, as_boxes, as_ids
from selfguide.samples.config import MAX_BATCH, SamplesConfig, check_interval
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
        boxed: whether images are asked for with boxes, too.
        image_size: side in pixels.
    """

    def __init__(self, denoiser: Denoiser, network: nn.Module, weak: nn.Module | None = None) -> None:
        self.network, self.weak, self.prediction = network, weak, denoiser.prediction
        self.num_ids: int = denoiser.network["num_ids"]
        self.image_size: int = denoiser.network["image_size"]
        self.boxed = denoiser.network["mask_channels"] > 0
        self.abar = alpha_bar(denoiser.schedule, denoiser.num_timesteps)

    def sample(
        self,
        ids: Ids,
        w: float = 2.0,
        num_steps: int = 50,
        seed: int = 0,
        *,
        boxes: Boxes | None = None,
        sampler: str = "ddim",
        eta: float = 0.0,
        clip: bool = True,
        guidance_interval: tuple[float, float] | None = None,
        guiding: str = "null_condition",
        first_index: int = 0,
        batch_size: int = 256,
    ) -> Array:
        """Draw one image per id, or per id and box.

        Args:
            ids: condition ids, 0..K-1 or -1 = null, (M,); for a model of images with several classes also lists of
                ids. One id goes with all boxes.
            w: guidance strength; 0 = unconditional (or the weak model), 1 = conditional.
            num_steps: denoising steps, 1..T.
            seed: image i is a function of (seed, first_index + i), its id and boxes, w and the sampler's settings.
            boxes: where the object is to be: x0, y0, x1, y1 in pixels, half-open, (M, 4), or (M, O, 4) for several;
                0, 0, 0, 0 = none. One box goes with all ids. For models of boxed guidance alone, which need them.
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
            UserError: an id, a box or a setting out of range, or boxes missing or not of use.
        """
        chosen, masks = self.signal(self._asked(ids, boxes))
        settings = Settings(w, sampler, num_steps, eta, clip, guidance_interval, guiding)
        settings = self.check_settings(settings)
        seed = whole_number("seed", seed, -(2**63), 2**63 - 1)
        first_index = whole_number("first_index", first_index, 0, 10**12)
        batch_size = whole_number("batch_size", batch_size, 1, MAX_BATCH)
        device = next(self.network.parameters()).device
        indices = torch.arange(first_index, first_index + len(chosen))
        parts = []
        for start in range(0, len(chosen), batch_size):
            rows = slice(start, start + batch_size)
            mask = None if masks is None else masks(start, start + batch_size).to(device)
            images = self.sample_batch(chosen[rows].to(device), indices[rows], seed, settings, mask)
            parts.append(images.cpu().numpy())
        return np.concatenate(parts)

    def _asked(self, ids: Ids, boxes: Boxes | None) -> Conditions:
        chosen = as_ids(ids, self.num_ids)
        if boxes is None:
            return Conditions(chosen)
        placed = as_boxes(boxes, self.image_size)
        num = max(len(chosen), len(placed))
        if not {len(chosen), len(placed)} <= {1, num}:
            raise UserError(f"boxes: expected 1 or as many as ids, {len(chosen)}, found {len(placed)}")
        every = np.arange(num)
        return Conditions(chosen[every % len(chosen)], placed[every % len(placed)])

    def signal(self, conditions: Conditions) -> tuple[Tensor, Callable[[int, int], Tensor] | None]:
        """What the network is given for conditions.

        Returns:
            ids int64 (M,) or (M, L), on the CPU; and, for boxed guidance, a function that makes the masks of images
            start to stop, float32 (stop - start, 1, S, S).

        Raises:
            UserError: an id outside -1..K-1, a box outside of the image; boxes missing, or not of use.
        """
        chosen = torch.from_numpy(as_ids(conditions.ids, self.num_ids)).long()
        if (conditions.boxes is not None) != self.boxed:
            raise UserError(
                "boxes: this model is guided by boxes; give one an image (0, 0, 0, 0: none)"
                if self.boxed
                else "boxes: this model knows no boxes; train it with guidance self_boxed or ground_truth_boxed"
            )
        if conditions.boxes is None:
            return chosen, None
        boxes = torch.from_numpy(as_boxes(conditions.boxes, self.image_size))
        return chosen, lambda start, stop: box_masks(boxes[start:stop], self.image_size)

    def check_settings(self, settings: Settings) -> Settings:
        """Check the settings once for all batches, and say in the log where guidance never acts.

        Returns:
            the same, with numbers that are Python's own.

        Raises:
            UserError: an unknown name, a number out of range or none, or a weak model that is not there.
        """
        for key, found, known in (("sampler", settings.sampler, SAMPLERS), ("guiding", settings.guiding, GUIDING)):
            if not isinstance(found, str) or found not in known:
                near = nearest(found, list(known)) if isinstance(found, str) else ""
                raise UserError(f"samples.{key}: unknown {shown(found)}; known: {', '.join(known)}{near}")
        settings = replace(
            settings,
            w=real_number("w", settings.w, -MAX_W, MAX_W),
            eta=real_number("samples.eta", settings.eta, 0, 1),
            num_steps=whole_number("samples.num_steps", settings.num_steps, 1, len(self.abar)),
        )
        if not isinstance(settings.clip, bool | np.bool_):
            raise UserError(f"samples.clip: expected true or false, found {shown(settings.clip)}")
        interval = settings.guidance_interval
        if interval is not None:
            bounds = numbers("samples.guidance_interval", interval, "null or [low, high]")
            try:
                ends: list[float] = bounds.astype(float).tolist() if bounds.ndim == 1 else []
                check_interval(ends)
            except (ValueError, OverflowError) as error:
                raise UserError(f"samples.guidance_interval: {error}, found {shown(interval)}") from None
            interval = ends[0], ends[1]
            settings = replace(settings, guidance_interval=interval)
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
        return settings

    @torch.no_grad()
    def sample_batch(
        self, ids: Tensor, indices: Tensor, seed: int, settings: Settings, mask: Tensor | None = None
    ) -> Tensor:
        """One batch.

        Args:
            ids: int64 (B,) or (B, L), on the network's device; -1 = null.
            indices: of the images in the whole sample, int64 (B,), on the CPU.
            seed: of the noise.
            settings: checked by `check_settings`.
            mask: float32 (B, 1, S, S) of boxed guidance, on the network's device.

        Returns:
            uint8 (B, S, S, 3), on the network's device.
        """
        levels = Levels.of(self.abar, settings.num_steps)
        weak = self.weak if settings.guiding == "weak_model" else None
        shape = (3, self.image_size, self.image_size)

        def draw(rows: Tensor) -> Tensor:
            noise = ImageNoise(seed, indices[rows].tolist(), shape, ids.device)
            here = rows.to(ids.device)
            model = guided_model(
                self.network, self.prediction, levels, ids[here], settings.w, settings.guidance_interval, weak,
                mask=None if mask is None else mask[here],
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
