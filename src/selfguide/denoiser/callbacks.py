"""What happens around the training steps: the curve, states to resume from, snapshots, the progress bar, NaN."""

import csv
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from tqdm.auto import tqdm

from selfguide.core.digest import digest_all, digest_file
from selfguide.core.errors import UserError
from selfguide.core.progress import progress
from selfguide.core.target import begins_with, replacing, replacing_file
from selfguide.denoiser.artifact import KIND, SNAPSHOTS, Weights
from selfguide.denoiser.config import DenoiserConfig
from selfguide.denoiser.module import DenoiserModule

COLUMNS = ("step", "epoch", "loss", "learning_rate")


def current_weights(module: DenoiserModule) -> Weights:
    """The module's averaged and raw parameters."""
    return Weights(ema=module.ema.state_dict(), raw=dict(module.network.named_parameters()))


def _diverged(what: str, module: DenoiserModule, step: int, last: Path) -> UserError:
    """The error of a training that is to stop, with what a rerun will do."""
    config = module.config
    again = (
        f"No state is kept yet (denoiser.checkpoint_every_steps: {config.checkpoint_every_steps}), so the same do too"
    )
    if last.is_file():
        again = (
            f"The last good state is kept ({last}), and the same settings resume from it, most likely to the same end"
        )
    return UserError(
        f"denoiser: {what} at step {step} (learning_rate {config.learning_rate}, precision {config.precision}). Lower"
        " denoiser.learning_rate, set denoiser.gradient_clip, or use denoiser.precision: 32-true; other settings train"
        f" from the first step. {again}"
    )


class Curve(pl.Callback):
    """Loss curve: the mean of the loss over each `every` steps, read from the device only then.

    Rows are part of the training state, so a resumed run has the curve of an uninterrupted one.

    Args:
        path: of the CSV.
        every: steps between its rows.
        images_per_epoch: N.
        last: where `States` keeps the state to resume from.
    """

    def __init__(self, path: Path, every: int, images_per_epoch: int, last: Path) -> None:
        self.path, self.every, self.images_per_epoch, self.last = path, every, images_per_epoch, last
        self.rows: list[list[float]] = []
        self.total: torch.Tensor | None = None
        self.count = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, DenoiserModule)
        loss = outputs["loss"].detach()
        self.total = loss if self.total is None else self.total + loss
        self.count += 1
        step = trainer.global_step
        if step % self.every and step < module.config.max_steps:
            return
        mean = float(trainer.strategy.reduce(self.total / self.count, reduce_op="mean"))
        self.total, self.count = None, 0
        if not math.isfinite(mean):
            raise _diverged(f"the loss is {mean}", module, step, self.last)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        epoch = step * module.config.batch_size / self.images_per_epoch
        self.rows.append([step, round(epoch, 4), mean, rate])
        if trainer.is_global_zero:
            self.write(self.path)
            for logger in trainer.loggers:
                logger.log_metrics({"loss": mean, "learning_rate": rate}, step)

    def write(self, path: Path) -> None:
        """Write the curve as CSV, for `dvc plots`."""
        ours = begins_with(",".join(COLUMNS).encode())
        with replacing_file(path, ours) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows([int(step), epoch, f"{loss:.6g}", f"{rate:.6g}"] for step, epoch, loss, rate in self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "total": self.total, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.total, self.count = state["rows"], state["total"], state["count"]


class States(pl.Callback):
    """Keeps the state to resume from (`last.ckpt`) and the snapshots asked for.

    Args:
        folder: where.
        config: how often.
        write: writes the denoiser of these weights and step into an existing folder.
    """

    def __init__(self, folder: Path, config: DenoiserConfig, write: Callable[[Path, Weights, int], None]) -> None:
        self.folder, self.write = folder, write
        self.every, self.snapshot_every = config.checkpoint_every_steps, config.snapshot_every_steps
        self.snapshots: dict[str, str] = {}  # digest of each, by its folder's name

    @property
    def last(self) -> Path:
        """The state to resume from."""
        return self.folder / "last.ckpt"

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, DenoiserModule)
        step = trainer.global_step
        final = step == module.config.max_steps
        if self.snapshot_every and step % self.snapshot_every == 0 and not final and trainer.is_global_zero:
            place = self.folder / SNAPSHOTS / f"step_{step:08d}"
            shutil.rmtree(place, ignore_errors=True)  # a killed run was here before
            with replacing(place, KIND) as temporary:
                self.write(temporary, current_weights(module), step)
            self.snapshots[place.name] = _digest(place)
        if step % self.every == 0 or final:
            norms = torch.stack(torch._foreach_norm([p.detach() for p in module.network.parameters()]))
            if not torch.isfinite(norms).all():
                raise _diverged("weights are not finite", module, step, self.last)
            trainer.save_checkpoint(self.last, weights_only=False)  # with the optimiser's state

    def check(self, state: dict[str, Any]) -> str:
        """What is wrong with the snapshots that a state counts on, or ""."""
        for name, digest in state["callbacks"][self.state_key]["snapshots"].items():
            if not (self.folder / SNAPSHOTS / name).is_dir() or _digest(self.folder / SNAPSHOTS / name) != digest:
                return f"the snapshot {name} before it is missing or damaged"
        return ""

    def state_dict(self) -> dict[str, Any]:
        return {"snapshots": self.snapshots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.snapshots = state["snapshots"]


def _digest(folder: Path) -> str:
    return digest_all({path.name: digest_file(path) for path in folder.iterdir()})


class Progress(pl.Callback):
    """Progress bar in images per second with the time left."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, DenoiserModule)
        self.size = module.config.batch_size
        self.bar = tqdm(
            total=module.config.max_steps * self.size,
            initial=trainer.global_step * self.size,
            desc="denoiser",
            unit="img",
            mininterval=2.0,
            disable=not (progress() and trainer.is_global_zero),
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.curve.rows and self.curve.rows[-1][0] == trainer.global_step:
            self.bar.set_postfix(step=trainer.global_step, loss=f"{self.curve.rows[-1][2]:.4f}", refresh=False)
        self.bar.update(self.size)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar.close()
