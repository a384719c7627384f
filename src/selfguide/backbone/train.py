"""Self-supervised training of a backbone under a Lightning Trainer; a killed run continues at its last whole epoch."""

import logging
import math
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from selfguide.backbone.config import BackboneConfig
from selfguide.backbone.network import Backbone
from selfguide.backbone.objective import Objective
from selfguide.backbone.trained import Trained
from selfguide.core import runtime
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.hardware import uses_cuda
from selfguide.core.scratch import claim, empty
from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.core.states import state_to_resume
from selfguide.core.weights import not_finite

logger = logging.getLogger(__name__)


class _Batches(Dataset[tuple[int, Tensor]]):
    """(step, this rank's rows of the step's batch): each epoch is one permutation of all images, the rest left out."""

    def __init__(self, pixels: Array, batch_size: int, seed: int) -> None:
        self.pixels, self.batch_size, self.seed = pixels, batch_size, seed
        self.epoch = self.rank = 0
        self.world_size = 1
        self._order = lru_cache(maxsize=1)(self._permutation)

    def _permutation(self, epoch: int) -> Array:
        return numpy_generator(self.seed, "backbone", "order", epoch).permutation(len(self.pixels))

    def __len__(self) -> int:
        return len(self.pixels) // self.batch_size

    def __getitem__(self, position: int) -> tuple[int, Tensor]:
        batch = self._order(self.epoch)[position * self.batch_size : (position + 1) * self.batch_size]
        rows = np.ascontiguousarray(self.pixels[batch[self.rank :: self.world_size]])
        return self.epoch * len(self) + position, torch.from_numpy(rows)


class _Training(pl.LightningModule):
    def __init__(self, objective: Objective, batches: _Batches, config: BackboneConfig, size: int, seed: int) -> None:
        super().__init__()
        self.objective = objective.to(memory_format=torch.channels_last)
        self.batches, self.config, self.size, self.seed = batches, config, size, seed
        self.num_steps = config.epochs * len(batches)
        self.curve: list[float] = []

    def train_dataloader(self) -> DataLoader[Any]:
        self.batches.rank, self.batches.world_size = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(self.batches, batch_size=None)

    def on_train_epoch_start(self) -> None:
        self.batches.epoch = self.current_epoch
        self.total = torch.zeros((), device=self.device)

    def training_step(self, batch: tuple[int, Tensor], batch_idx: int) -> Tensor:
        step, pixels = batch
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "backbone", "views", int(step)))
        views = self.objective.draw(self.batches.batch_size, generator)
        views = [view.rows(self.trainer.global_rank, self.trainer.world_size) for view in views]
        images = pixels.permute(0, 3, 1, 2).float() / 255
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        loss: Tensor = self.objective(images, views)
        self.total += loss.detach()
        return loss

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        super().optimizer_step(*arguments, **keywords)
        self.objective.after_step(self.trainer.global_step / self.num_steps)

    def on_train_epoch_end(self) -> None:
        # Before the checkpoint of this epoch is written, so the last good state is kept.
        loss = float(self.trainer.strategy.reduce(self.total / len(self.batches), reduce_op="mean"))
        bad = not_finite(self.objective.state_dict())  # the last step's, which no loss has seen yet
        if bad or not math.isfinite(loss):
            what = f"the training loss is {loss}" if not math.isfinite(loss) else f"weights are not finite ({bad[0]})"
            raise UserError(
                f"backbone: {what} in epoch {self.current_epoch}; lower backbone.learning_rate"
                f" ({self.config.learning_rate:g}) or use backbone.precision: 32-true; other settings train from the"
                " first epoch"
            )
        self.curve.append(loss)
        logger.info("backbone: epoch %d of %d, loss %.4f", self.current_epoch + 1, self.config.epochs, loss)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["curve"] = self.curve

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.curve = list(checkpoint["curve"])

    def configure_optimizers(self) -> Any:
        trained = [p for p in self.objective.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate)
        warmup = max(1, round(self.config.warmup * self.num_steps))

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / warmup) * (1 + math.cos(math.pi * step / self.num_steps)) / 2

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(
    variant: Trained, config: BackboneConfig, pixels: Array, seed: int, scratch: Path
) -> tuple[Backbone, list[float]] | None:
    """Train a backbone on images alone.

    On a CPU it runs in one process whatever the number of devices, for batch normalisation cannot be shared there.

    Args:
        variant: what to train.
        config: the `backbone` section.
        pixels: (N, S, S, 3) uint8, N >= 2.
        seed: of the initial weights, the order and the augmentation.
        scratch: folder of the checkpoint; a state already there is continued.

    Returns:
        On rank 0, the backbone and the mean loss of each epoch; None on other ranks.

    Raises:
        UserError: fewer than 2 images; the loss is not finite.
    """
    if len(pixels) < 2:
        raise UserError(
            f"backbone.variant {config.variant}: expected at least 2 images to train on, found {len(pixels)}"
        )
    architecture = variant.architecture(config, pixels.shape[1])
    size = architecture["input_size"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "backbone", "weights"))
        objective = variant.objective(config, size)
        backbone = variant.build(architecture)
    batches = _Batches(pixels, min(config.batch_size, len(pixels)), seed)
    module = _Training(objective, batches, config, size, seed)

    checkpoint = ModelCheckpoint(scratch, filename="last", every_n_epochs=1, enable_version_counter=False)
    where = {"sync_batchnorm": True} if uses_cuda() else {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    trainer = runtime.trainer(
        **where,
        max_epochs=config.epochs,
        precision=config.precision,
        callbacks=[checkpoint],
        enable_checkpointing=True,
        num_sanity_val_steps=0,
    )
    if trainer.is_global_zero:
        claim(scratch)
    resume = state_to_resume(scratch / "last.ckpt", module)
    if trainer.is_global_zero and resume is None:
        empty(scratch)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    if not trainer.is_global_zero:
        return None
    backbone.network.load_state_dict(objective.network.state_dict())
    return backbone, module.curve
