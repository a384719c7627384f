"""The LightningModule: one training step of the denoiser."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import DataLoader

from selfguide.core.errors import UserError
from selfguide.core.hardware import compile_mode
from selfguide.core.seeding import derive_seed
from selfguide.core.workers import num_parts
from selfguide.denoiser.batches import Batch, Batches
from selfguide.denoiser.config import DenoiserConfig
from selfguide.denoiser.ema import Ema
from selfguide.denoiser.network import Network
from selfguide.denoiser.parts import InParts
from selfguide.denoiser.schedule import add_noise, alpha_bar, loss_weight, target
from selfguide.signal.signal import Signal
from selfguide.space.space import Encoded


class DenoiserModule(pl.LightningModule):
    """Trains a network on L = E || target - network(x_t, t, c) ||^2 (the paper's Eq. 2 and 8).

    Args:
        network: of `selfguide.denoiser.registry.build`.
        config: the `denoiser` section.
        images: what it is trained on; not part of the module's state, nor is the signal.
        signal: what guides them.
        seed: the run's seed.
    """

    abar: Tensor

    def __init__(self, network: Network, config: DenoiserConfig, images: Encoded, signal: Signal, seed: int) -> None:
        super().__init__()
        self.network, self.config, self.seed = network, config, seed
        self.images, self.signal = images, signal
        table = alpha_bar(config.schedule, config.num_timesteps).float()
        self.register_buffer("abar", table, persistent=False)
        network.checkpoint_activations(config.activation_checkpointing)
        self._in_parts: InParts | None = None

    def setup(self, stage: str) -> None:
        if self.config.batch_size % self.trainer.world_size:
            raise UserError(
                f"denoiser.batch_size: {self.config.batch_size} is not divisible by the {self.trainer.world_size}"
                " ranks; change it or SELFGUIDE_DEVICES"
            )

    def on_fit_start(self) -> None:
        # After the device move and before a checkpoint's state is used.
        self.batches = Batches(
            self.images,
            self.signal,
            self.config,
            self.seed,
            self.device,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        if self.config.compile:
            self.network.compile_forward(compile_mode(self.device))
        restored = getattr(self, "_restored_ema", None)
        self.ema = Ema(self.network, self.config.ema_decay)
        if restored is not None:
            self.ema.load_state_dict(restored)

    def train_dataloader(self) -> DataLoader[int]:
        # Batches follow from the step number alone; the loader only counts.
        return DataLoader(range(self.config.max_steps), batch_size=None)  # type: ignore[arg-type]

    def training_step(self, counter: Any, batch_idx: int) -> Tensor:
        step = self.global_step
        if self.network.dropout:
            torch.manual_seed(derive_seed(self.seed, "dropout", step, self.trainer.global_rank))
        return self.loss(self.batches(step))

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the batch of the weighted squared error: a scalar to call `backward` on."""
        if self._in_parts is None:
            # Dropout draws from one stream, which threads would share.
            workers = 1 if self.network.dropout or self.config.compile else num_parts(batch.x0.device, len(batch.x0))
            self._in_parts = InParts(self.network, workers, self.config.gradient_accumulation)
        abar = self.abar[batch.t]
        xt = add_noise(batch.x0, batch.eps, abar)
        wanted = target(self.config.prediction, batch.x0, batch.eps, abar)
        weight = loss_weight(self.config.prediction, self.config.min_snr_gamma, abar)

        def part_loss(network: nn.Module, rows: slice) -> Tensor:
            output = network(xt[rows], batch.t[rows], batch.c[rows])
            error = F.mse_loss(output.float(), wanted[rows], reduction="none").mean((1, 2, 3))
            return (weight[rows] * error).mean()

        return self._in_parts(part_loss, len(xt))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # Here, and not at the batch's end: callbacks save states there, and run before the module's own hook.
        self.ema.update(self.global_step + 1)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW over the network's parameters, all of them in one kernel."""
        c = self.config
        # A loss scale is taken out inside of a fused optimiser, after gradients would have been clipped.
        fused = c.precision != "16-mixed" or c.gradient_clip is None
        return torch.optim.AdamW(
            self.network.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay, fused=fused
        )

    def configure_optimizers(self) -> Any:
        c = self.config

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / (c.warmup_steps + 1))
            return min(warm, (c.max_steps - step) / c.decay_steps) if c.decay_steps else warm

        optimizer = self.make_optimizer()
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        # Not Lightning's clipping: under autocast it refuses a fused optimiser.
        if self.config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip, foreach=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._restored_ema = checkpoint["ema"]
