"""Fit a segmenter on the kept features: a head and clusters under a Lightning Trainer, or a control."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from selfguide.core import runtime
from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.scratch import claim, digest_code, discard, empty, scratch_folder
from selfguide.core.seeding import derive_seed, numpy_generator
from selfguide.core.states import state_to_resume
from selfguide.core.weights import not_finite
from selfguide.masks.batch import Maps, TrainingBatch
from selfguide.masks.config import SegmenterConfig
from selfguide.masks.registry import METHODS
from selfguide.masks.segmenter import Segmenter, save_segmenter, zero_mean
from selfguide.masks.spherical import refit
from selfguide.patches.artifact import PatchSet
from selfguide.patches.neighbours import Neighbours

log = logging.getLogger(__name__)

_MEAN_PATCHES = 1 << 20  # patches that the mean is taken of
_LOG_EVERY = 50


class _Training(pl.LightningModule):
    """Every rank computes the whole batch: heads are small, and a loss of pairs of images is not a sum over shares."""

    def __init__(
        self,
        method: nn.Module,
        patches: PatchSet,
        neighbours: Array | None,
        mean: Tensor,
        config: SegmenterConfig,
        seed: int,
    ) -> None:
        super().__init__()
        self.method, self.config, self.seed = method, config, seed
        self.patches, self.near = patches, neighbours
        self.numbers = patches.training
        self.batch_size = min(config.batch_size, len(self.numbers))
        self.register_buffer("mean", mean, persistent=False)
        self.mean: Tensor
        self.curve: list[tuple[int, float]] = []

    def train_dataloader(self) -> DataLoader[int]:
        # Batches follow from the step number alone; the loader only counts.
        return DataLoader(range(self.config.max_steps), batch_size=None)  # type: ignore[arg-type]

    def _rows(self, step: int) -> Array:
        each = len(self.numbers) // self.batch_size
        order = numpy_generator(self.seed, "segmenter", "order", step // each).permutation(len(self.numbers))
        return order[step % each * self.batch_size :][: self.batch_size]

    def _maps(self, rows: Array) -> Maps:
        maps, grids = self.patches.maps(self.numbers[rows])
        return Maps(maps.to(self.device) - self.mean[:, None, None], grids)

    def training_step(self, counter: Any, batch_idx: int) -> Tensor:
        step = self.global_step
        rows = self._rows(step)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "segmenter", "step", step))
        # Dropout takes its numbers from torch's own stream.
        torch.manual_seed(derive_seed(self.seed, "segmenter", "dropout", step))

        def neighbours() -> Maps:
            assert self.near is not None
            ranks = min(self.config.stego.num_neighbours, self.near.shape[1])
            chosen = torch.randint(ranks, (len(rows),), generator=generator).numpy()
            return self._maps(np.asarray(self.near[rows, chosen]))

        loss: Tensor = self.method(TrainingBatch(self._maps(rows), neighbours, generator))
        if (step + 1) % _LOG_EVERY == 0 or step + 1 == self.config.max_steps:
            self._watch(step + 1, loss)
        return loss

    def _watch(self, step: int, loss: Tensor) -> None:
        value = float(loss.detach())
        bad = not_finite(self.method.state_dict())
        if bad or not np.isfinite(value):
            raise UserError(
                f"segmenter: the loss is {value} at step {step}{f', and {bad[0]} is not finite' if bad else ''}; lower"
                f" masks.segmenter.learning_rate ({self.config.learning_rate:g}) or masks.segmenter.probe_learning_rate"
            )
        self.curve.append((step, value))
        log.info("segmenter: step %d of %d, loss %.4f", step, self.config.max_steps, value)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # Here, and not at the batch's end: callbacks save states there, and run before the module's own hook.
        self.method.after_step()  # type: ignore[operator]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["curve"] = [list(each) for each in self.curve]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.curve = [(int(step), float(loss)) for step, loss in checkpoint["curve"]]

    def configure_optimizers(self) -> Any:
        # The authors of STEGO step one Adam for each; it treats every number by itself, so that groups are the same.
        head = list(self.method.code.parameters())  # type: ignore[union-attr]
        others = [parameter for parameter in self.method.parameters() if all(parameter is not each for each in head)]
        groups = [
            {"params": head, "lr": self.config.learning_rate},
            {"params": others, "lr": self.config.probe_learning_rate},
        ]
        return torch.optim.Adam(groups)


def fit(patches: PatchSet, neighbours: Neighbours | None, config: SegmenterConfig, seed: int, out: str | Path) -> None:
    """Fit a segmenter and write models/segmenter; the last step is used.

    Args:
        patches: features, of pixels alone.
        neighbours: of the training views; only `stego` reads them.
        config: the `masks.segmenter` section.
        seed: of the initial weights, the order and everything that is drawn.
        out: folder to write.

    Raises:
        UserError: neighbours of other patches; a loss that is not finite; too few patches for K clusters.
    """
    if neighbours is not None and neighbours.patches != patches.digest:
        raise UserError("data/neighbours: made of other patches than data/patches; run `dvc repro neighbours`")
    mean = zero_mean(patches.width)
    if config.subtract_mean:
        vectors = patches.sample(_MEAN_PATCHES, numpy_generator(seed, "segmenter", "mean"))
        mean = torch.from_numpy(vectors.mean(axis=0, dtype=np.float64)).float()
    method = METHODS[config.method]
    if method.fitted is not None:
        code, clusters = method.fitted(patches, mean, config, seed)
        trained, scratch = _Fitted(Segmenter(code, clusters, mean)), None
    else:
        found = _train(patches, neighbours, config, mean, seed)
        if found is None:
            return
        trained, scratch = found
        if config.refit_clusters:
            code, clusters = trained.segmenter.code, trained.segmenter.clusters
            clusters = refit(code, clusters, patches, mean, config, seed)
            trained = _Fitted(Segmenter(code, clusters, mean), trained.curve)
    facts = {"seed": seed, "curve": trained.curve, "backbone": patches.backbone, "patches": patches.digest}
    save_segmenter(out, trained.segmenter, config, patches.width, **facts)
    if scratch is not None:
        discard(scratch)


class _Fitted(NamedTuple):
    segmenter: Segmenter
    curve: Sequence[tuple[int, float]] = ()  #: steps and losses


def _train(
    patches: PatchSet, neighbours: Neighbours | None, config: SegmenterConfig, mean: Tensor, seed: int
) -> tuple[_Fitted, Path] | None:
    method = METHODS[config.method]
    assert method.trained is not None
    near = neighbours.neighbours if method.needs_neighbours and neighbours is not None else None
    if method.needs_neighbours and (near is None or not near.shape[1]):
        raise UserError(f"masks.segmenter.method {config.method}: expected at least 2 images, each with a neighbour")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "segmenter", "weights"))
        trained = method.trained(patches.width, config)
    module = _Training(trained, patches, near, mean, config, seed)
    scratch = scratch_folder(
        "segmenter",
        config=config.model_dump(mode="json"),
        seed=seed,
        patches=patches.digest,
        neighbours="" if near is None or neighbours is None else neighbours.digest,
        code=digest_code("core", "patches", "masks"),
    )
    checkpoint = ModelCheckpoint(
        scratch, filename="last", every_n_train_steps=config.checkpoint_every_steps, enable_version_counter=False
    )
    trainer = runtime.trainer(
        max_steps=config.max_steps,
        max_epochs=-1,
        callbacks=[checkpoint],
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    if trainer.is_global_zero:
        claim(scratch)
    resume = state_to_resume(scratch / "last.ckpt", module)
    if trainer.is_global_zero and resume is None:
        empty(scratch)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    if not trainer.is_global_zero:
        return None
    return _Fitted(Segmenter(trained.code.cpu(), trained.clusters.cpu(), mean), module.curve), scratch
