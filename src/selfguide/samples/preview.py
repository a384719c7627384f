"""A grid of samples every n training steps, to TensorBoard and logs/."""

import logging
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from selfguide.condition.artifact import Condition
from selfguide.condition.mask import box_masks
from selfguide.core.errors import UserError
from selfguide.core.pixels import to_uint8
from selfguide.denoiser.module import DenoiserModule
from selfguide.denoiser.schedule import alpha_bar
from selfguide.images.grid import grid
from selfguide.samples.ddim import Ddim
from selfguide.samples.guidance import guided_model
from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.solver import solve

log = logging.getLogger(__name__)


class Preview(pl.Callback):
    """Draws the same few conditions and noises each time, by DDIM with the averaged weights.

    Args:
        condition: ids are spread over those that training sees.
        every: steps between previews.
        w: guidance strength.
        num_steps: DDIM steps.
        columns: the grid is columns x columns.
    """

    def __init__(self, condition: Condition, every: int, w: float, num_steps: int = 25, columns: int = 8) -> None:
        rows = np.linspace(0, len(condition.ids) - 1, columns**2).round().astype(int)
        rows = rows[np.lexsort(condition.ids[rows].reshape(len(rows), -1).T[::-1])]  # by their first id
        self.ids = torch.from_numpy(condition.ids[rows]).long()
        self.boxes = None if condition.boxes is None else torch.from_numpy(condition.boxes[rows]).long()
        self.every, self.w, self.num_steps, self.columns = every, w, num_steps, columns

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, DenoiserModule)
        if trainer.global_step % self.every or not trainer.is_global_zero:
            return
        config, size = module.config, module.pixels.shape[1]
        abar = alpha_bar(config.schedule, config.num_timesteps)
        levels = Levels.of(abar, min(self.num_steps, config.num_timesteps))
        noise = ImageNoise(0, range(len(self.ids)), (3, size, size), module.device)
        ids = self.ids.to(module.device)
        mask = None if self.boxes is None else box_masks(self.boxes, size).to(module.device)
        module.network.eval()
        with torch.no_grad(), module.ema.applied(), trainer.precision_plugin.forward_context():
            model = guided_model(module.network, config.prediction, levels, ids, self.w, mask=mask)
            solver = Ddim(levels, eta=0.0, device=module.device)
            drawn = solve(solver, model, levels, noise, clip=True)
        module.network.train()
        try:
            images = to_uint8(drawn).cpu().numpy()
        except UserError as error:  # a training that diverged is stopped by its loss and its weights
            log.warning("denoiser: no preview at step %d: %s", trainer.global_step, error)
            return
        picture = np.asarray(grid(images, self.columns))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", picture, trainer.global_step, dataformats="HWC")
