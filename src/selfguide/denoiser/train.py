"""Trains the denoiser. Reads images and condition; writes models/denoiser and the loss curve."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from selfguide.condition.artifact import Condition
from selfguide.core import runtime
from selfguide.core.digest import digest_json
from selfguide.core.errors import UserError, rerun
from selfguide.core.scratch import claim, digest_code, discard, empty, scratch_folder
from selfguide.core.seeding import derive_seed
from selfguide.core.states import state_to_resume
from selfguide.core.target import replacing
from selfguide.denoiser.artifact import KIND, SNAPSHOTS, Task, Weights, build_network, write_denoiser
from selfguide.denoiser.callbacks import Curve, Progress, States, current_weights
from selfguide.denoiser.config import DenoiserConfig
from selfguide.denoiser.module import DenoiserModule
from selfguide.space.space import Encoded

log = logging.getLogger(__name__)


def train(
    images: Encoded,
    condition: Condition,
    config: DenoiserConfig,
    seed: int,
    out: Path,
    curve_path: Path,
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Train, or go on where a killed run of the same configuration, data and code was.

    Args:
        images: in the space that the denoiser works in.
        condition: of each image.
        config: the `denoiser` section.
        seed: fixes initial weights, order, time steps, noise, drops and flips.
        out: folder of the trained denoiser.
        curve_path: CSV of the loss.
        callbacks: further Lightning callbacks.

    Raises:
        UserError: sizes that do not fit, places of other images, a loss or weights that are not finite (the last good
            state is kept, if there is one yet).
    """
    _check(images, condition)
    if config.horizontal_flip and not images.space.mirrors:
        raise UserError(
            f"denoiser.horizontal_flip: true, and maps of {images.space.name} are no images: mirrored ones are none of"
            " mirrored images; set it to false"
        )
    task = Task(
        images.space,
        condition.signal.form,
        condition.guidance,
        config.schedule,
        config.num_timesteps,
        config.prediction,
    )
    facts = {
        # How often states are kept does not change what is learnt.
        "config": config.model_dump(mode="json", exclude={"checkpoint_every_steps"}),
        "images": images.digest,
        "condition": condition.signal.digest(),
        "seed": seed,
    }

    def write(folder: Path, weights: Weights, step: int) -> None:
        write_denoiser(folder, weights, task, config.network, step, **facts)

    code = digest_code("condition", "core", "denoiser", "signal", "space")
    scratch = scratch_folder("denoiser", **facts, **task.facts(), code=code)
    pl.seed_everything(derive_seed(seed, "weights") % 2**32, verbose=False)
    module = DenoiserModule(build_network(config.network, task), config, images, condition.signal, seed)

    states = States(scratch, config, write)
    curve = Curve(scratch / "curve.csv", config.log_every_steps, len(images.rows), states.last)
    logger = TensorBoardLogger("logs", name="denoiser", version=digest_json(facts)[:8])
    trainer = runtime.trainer(
        max_steps=config.max_steps,
        max_epochs=-1,
        precision=config.precision,
        logger=logger,
        log_every_n_steps=config.log_every_steps,
        enable_progress_bar=False,
        callbacks=[curve, states, Progress(curve), *callbacks],
    )
    if trainer.is_global_zero:
        claim(scratch)
    resume = state_to_resume(states.last, module, states.check)
    if trainer.is_global_zero:
        if resume is None:
            empty(scratch)
        parameters = sum(p.numel() for p in module.network.parameters())
        log.info(
            "denoiser: %.2f M parameters, %d images, %d ids", parameters / 1e6, len(images.rows), task.form.num_ids
        )
        if config.snapshot_every_steps:
            log.info("denoiser: snapshots go to %s while it trains; each loads as any model", scratch / SNAPSHOTS)
        if resume:
            log.info("denoiser: resuming from %s", resume)
    trainer.fit(module, ckpt_path=resume, weights_only=True)
    trainer.strategy.barrier("trained")
    if not trainer.is_global_zero:
        return

    curve.write(curve_path)
    with replacing(out, KIND) as temporary:
        if (scratch / SNAPSHOTS).is_dir():
            shutil.copytree(scratch / SNAPSHOTS, temporary / SNAPSHOTS)
        write(temporary, current_weights(module), config.max_steps)
    discard(scratch)


def _check(images: Encoded, condition: Condition) -> None:
    signal, remedy = condition.signal, rerun("condition")
    signal.check("data/condition", "condition")
    if len(images.rows) != len(signal):
        raise UserError(f"data/condition: {len(signal)} ids, data/images has {len(images.rows)} images; {remedy}")
    if signal.form.where is not None and signal.form.side != images.space.image_size:
        raise UserError(
            f"data/condition: {signal.form.where} in a square of {signal.form.side} pixels, data/images has images of"
            f" {images.space.image_size}; {remedy}"
        )
