"""This project's denoiser as the product runs it, in a form that can stand beside others in a stopwatch's loop.

    contender = make(base=64, size=32, num_ids=100, batch=16)
    contender.train_step(images, labels)        # forward, backward, AdamW, EMA
    x = contender.sample_step(x, i, labels, w)  # one of 250 guided DDIM steps

The network has the paper's shape at another width: channels (1, 2, 4) x base, two residual blocks a level, attention at
size / 4 with 8 heads, time embedding 4 x base, guidance embedding 2 x base. What follows is the code of the stages
`denoiser` and `samples` without their Trainer, which would hold the loop. Precision is `auto`: bf16 where the hardware
has it. Nothing is read back from the device; the caller waits for a GPU.
"""

import copy
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfguide.core.config import parse
from selfguide.core.hardware import compile_mode
from selfguide.core.pixels import to_uint8
from selfguide.core.runtime import resolve_precision
from selfguide.core.workers import in_threads, num_parts
from selfguide.denoiser.batches import Batches
from selfguide.denoiser.config import DenoiserConfig
from selfguide.denoiser.ema import Ema
from selfguide.denoiser.module import DenoiserModule
from selfguide.denoiser.network import Network
from selfguide.denoiser.registry import build
from selfguide.presets import Presets
from selfguide.samples.guidance import guided_model
from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.registry import SAMPLERS
from selfguide.samples.solver import Denoise, clean_model
from selfguide.signal.condition import BatchCondition
from selfguide.signal.signal import Form, Signal
from selfguide.space.pixels import Pixels
from selfguide.space.space import Encoded

ROOT = Path(__file__).resolve().parents[1]
NUM_STEPS = 250


class Contender:
    """See `make`.

    Attributes:
        network: which is trained.
        sampled: the one that draws, with the same weights.
        precision: Lightning's name of the precision in use.
    """

    def __init__(self, config: DenoiserConfig, size: int, num_ids: int, device: torch.device) -> None:
        self.device, self.config = device, config
        self.precision = resolve_precision(config.precision)
        self.network: Network = build(config.network, side=size, channels=3, num_ids=num_ids).to(device)
        space = Pixels(size)
        images = Encoded(space, np.zeros((config.batch_size, size, size, 3), np.uint8), digest="")
        signal = Signal(Form(num_ids), np.zeros(config.batch_size, np.int32))
        # Drawn anew at each step: time steps, noise, dropped conditions; the images are given.
        self.batches = Batches(images, signal, config, 0, device)
        self.module = DenoiserModule(self.network, config, images, signal, seed=0).to(device)
        self.optimizer, self.ema, self.steps = self.module.make_optimizer(), Ema(self.network, config.ema_decay), 0
        # Stages are processes of their own: the sampler compiles another network than the trainer, of the same weights.
        self.sampled = copy.deepcopy(self.network).eval()
        for mine, shared in zip(self.sampled.parameters(), self.network.parameters(), strict=True):
            mine.data = shared.data
        if config.compile:
            self.network.compile_forward(compile_mode(device))
            self.sampled.compile_unrolled(compile_mode(device))
        self.levels = Levels.of(self.module.abar, NUM_STEPS)
        self.solver = SAMPLERS["ddim"](self.levels, 0.0, device)
        self.bounds = space.bounds
        self.noise = ImageNoise(0, [], space.shape, device)  # never drawn from: eta is 0
        self._conditions: tuple[Tensor, float] | None = None

    def autocast(self) -> AbstractContextManager[Any]:
        """What Lightning wraps around a step."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step.

        Args:
            images: uint8 (B, S, S, 3), as the product keeps them, or float (B, 3, S, S) in [-1, 1], which are turned
                into that first; B is the batch of `make`.
            labels: int64 (B,), 0..K-1.

        Returns:
            The loss, a scalar on the device.
        """
        self._conditions = None  # their embeddings change with the weights
        self.batches.stored.tensor = to_uint8(images) if images.is_floating_point() else images
        self.batches.conditions.ids.tensor = labels
        batch = self.batches(self.steps)
        with self.autocast():
            loss = self.module.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.steps += 1
        self.ema.update(self.steps)
        return loss.detach()

    @torch.inference_mode()
    def sample_step(self, x: Tensor, i: int, labels: Tensor, w: float) -> Tensor:
        """From noise level i of 250 to the next, by DDIM; at i = 249 to the clean images.

        What depends on labels and w alone is computed when other ones are given, as once per batch in the product: do
        not change labels in place.

        Args:
            x: float32 (B, 3, S, S).
            i: 0..249, 0 is the noisiest.
            labels: int64 (B,), -1 = null.
            w: 0 = unconditional, 1 = conditional, above 1 = guided.

        Returns:
            float32 (B, 3, S, S).
        """
        with self.autocast():
            if self._conditions is None or self._conditions[0] is not labels or self._conditions[1] != w:
                self._conditions = (labels, w)
                self._estimates = [self.estimate(some, w) for some in labels.tensor_split(self.num_parts(len(labels)))]
            parts = list(zip(x.tensor_split(len(self._estimates)), self._estimates, strict=True))
            return torch.cat(in_threads(lambda part: self.solver.step(part[0], i, part[1], self.noise), parts))

    def predict(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The network's output for noisy images, time steps and labels, int64 (B,)."""
        out: Tensor = self.network(x, t, BatchCondition(labels))
        return out

    def num_parts(self, batch: int) -> int:
        """Threads of a sampling step."""
        return num_parts(self.device, batch)

    def estimate(self, labels: Tensor, w: float) -> Denoise:
        """The clean image's estimate under fixed labels and w."""
        model = guided_model(self.sampled, "eps", self.levels, BatchCondition(labels), w)
        return clean_model(model, self.levels, self.bounds, self.device)


def make(
    base: int, size: int, num_ids: int, batch: int, *, device: str = "cpu", compile: bool = False, **changes: Any
) -> Contender:
    """A fresh denoiser.

    Args:
        base: channels at full resolution, a multiple of 32.
        size: side in pixels.
        num_ids: K.
        batch: images of a training step; sampling takes any number.
        device: of everything.
        compile: torch.compile the network.
        changes: other values of the `denoiser` section or of its network, e.g. precision="32-true".
    """
    paper = Presets(ROOT / "presets").values("cifar100")["denoiser"]
    network = {
        "variant": "concat", "patch_size": 1, "base_channels": base, "channel_multipliers": [1, 2, 4], "num_blocks": 2,
        "attention_resolutions": [size // 4], "num_heads": 8, "time_width": 4 * base, "guidance_width": 2 * base,
        "dropout": 0.0,
    }  # fmt: skip
    own = {key: changes.pop(key) for key in [*changes] if key in network}
    settings = {"network": {**network, **own}, "batch_size": batch, "precision": "auto", "compile": compile, **changes}
    config = parse(DenoiserConfig, {**paper, **settings}, "denoiser")
    return Contender(config, size, num_ids, torch.device(device))
