"""The LightningModule: one training step of the denoiser."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import DataLoader

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.seeding import derive_seed
from selfguide.denoiser.batches import Batches
from selfguide.denoiser.config import DenoiserConfig
from selfguide.denoiser.ema import Ema
from selfguide.denoiser.schedule import add_noise, alpha_bar, target


class DenoiserModule(pl.LightningModule):
    """Trains a network on L = E || target - network(x_t, t, c) ||^2 (the paper's Eq. 2 and 8).

    Args:
        network: module of `selfguide.denoiser.build`.
        config: the `denoiser` section.
        pixels: uint8 (N, S, S, 3); not part of the module's state.
        ids: int32 (N,), -1 = null.
        seed: the run's seed.
    """

    abar: Tensor

    def __init__(self, network: nn.Module, config: DenoiserConfig, pixels: Array, ids: Array, seed: int) -> None:
        super().__init__()
        self.network, self.config, self.seed = network, config, seed
        self.pixels, self.ids = pixels, ids
        table = alpha_bar(config.schedule, config.num_timesteps).float()
        self.register_buffer("abar", table, persistent=False)

    def setup(self, stage: str) -> None:
        if self.config.batch_size % self.trainer.world_size:
            raise UserError(
                f"denoiser.batch_size: {self.config.batch_size} is not divisible by the {self.trainer.world_size}"
                " ranks; change it or SELFGUIDE_DEVICES"
            )

    def on_fit_start(self) -> None:
        # After the device move and before a checkpoint's state is used.
        self.batches = Batches(
            self.pixels,
            self.ids,
            batch_size=self.config.batch_size,
            num_timesteps=self.config.num_timesteps,
            drop_prob=self.config.condition_drop_prob,
            flip=self.config.horizontal_flip,
            seed=self.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            device=self.device,
        )
        restored = getattr(self, "_restored_ema", None)
        self.ema = Ema(self.network, self.config.ema_decay)
        if restored is not None:
            self.ema.load_state_dict(restored)

    def train_dataloader(self) -> DataLoader[int]:
        # Batches follow from the step number alone; the loader only counts.
        return DataLoader(range(self.config.max_steps), batch_size=None)  # type: ignore[arg-type]

    def training_step(self, counter: Any, batch_idx: int) -> Tensor:
        step = self.global_step
        if self.config.dropout:
            torch.manual_seed(derive_seed(self.seed, "dropout", step, self.trainer.global_rank))
        batch = self.batches(step)
        abar = self.abar[batch.t]
        output = self.network(add_noise(batch.x0, batch.eps, abar), batch.t, batch.ids)
        return F.mse_loss(output.float(), target(self.config.prediction, batch.x0, batch.eps, abar))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # Here, and not at the batch's end: callbacks save states there, and run before the module's own hook.
        self.ema.update(self.global_step + 1)

    def configure_optimizers(self) -> Any:
        c = self.config
        # Under autocast Lightning refuses to clip gradients around a fused optimiser.
        fused = c.precision == "32-true" or c.gradient_clip is None
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay, fused=fused
        )

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / (c.warmup_steps + 1))
            return min(warm, (c.max_steps - step) / c.decay_steps) if c.decay_steps else warm

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._restored_ema = checkpoint["ema"]
