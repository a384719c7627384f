"""Trains the denoiser. Reads images and condition; writes models/denoiser and the loss curve."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from selfguide.annotations.artifact import check_ids
from selfguide.condition.artifact import Condition
from selfguide.core import runtime
from selfguide.core.artifact import Array
from selfguide.core.digest import digest_json
from selfguide.core.errors import UserError
from selfguide.core.scratch import claim, digest_code, discard, empty, scratch_folder
from selfguide.core.seeding import derive_seed
from selfguide.core.states import state_to_resume
from selfguide.core.target import replacing
from selfguide.denoiser.artifact import KIND, write_denoiser
from selfguide.denoiser.callbacks import Curve, Progress, States, current_weights
from selfguide.denoiser.config import DenoiserConfig
from selfguide.denoiser.module import DenoiserModule
from selfguide.denoiser.registry import NETWORK_KEYS, build

log = logging.getLogger(__name__)

#: Keys that change where and when states are kept, and not what is learnt.
_HOUSEKEEPING = {"checkpoint_every_steps", "preview_every_steps"}


def train(
    pixels: Array,
    condition: Condition,
    config: DenoiserConfig,
    seed: int,
    out: Path,
    curve_path: Path,
    images_digest: str,
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Train, or go on where a killed run of the same configuration, data and code was.

    Args:
        pixels: uint8 (N, S, S, 3).
        condition: ids and, for boxed guidance, boxes of each image.
        config: the `denoiser` section.
        seed: fixes initial weights, order, time steps, noise, drops and flips.
        out: folder of the trained denoiser.
        curve_path: CSV of the loss.
        images_digest: digest of `pixels`.
        callbacks: further Lightning callbacks, e.g. previews.

    Raises:
        UserError: sizes that do not fit, boxes of other images, a loss or weights that are not finite (the last good
            state is kept, if there is one yet).
    """
    check_ids(condition.ids, condition.num_ids, "data/condition", "condition")
    if len(pixels) != len(condition.ids):
        raise UserError(
            f"data/condition: {len(condition.ids)} ids, data/images has {len(pixels)} images; run `dvc repro condition`"
        )
    _check_boxes(condition.boxes, pixels)
    settings = config.model_dump(mode="json")
    network_config = {
        "variant": config.variant,
        "image_size": int(pixels.shape[1]),
        "num_ids": condition.num_ids,
        **{key: settings[key] for key in NETWORK_KEYS},
        # Absent and not 0 without masks: such a model is the same file as before there were any.
        **({} if condition.boxes is None else {"mask_channels": 1}),
    }
    facts = {
        "config": {key: value for key, value in settings.items() if key not in _HOUSEKEEPING},
        "network": network_config,
        "images": images_digest,
        "condition": condition.digest,
        "seed": seed,
    }
    scratch = scratch_folder("denoiser", **facts, code=digest_code("condition", "core", "denoiser"))
    pl.seed_everything(derive_seed(seed, "weights") % 2**32, verbose=False)
    module = DenoiserModule(build(network_config), config, pixels, condition.ids, seed, condition.boxes)

    states = States(scratch, config.checkpoint_every_steps, config.snapshot_every_steps)
    curve = Curve(scratch / "curve.csv", config.log_every_steps, len(pixels), states.last)
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
        log.info("denoiser: %.2f M parameters, %d images, %d ids", parameters / 1e6, len(pixels), condition.num_ids)
        if resume:
            log.info("denoiser: resuming from %s", resume)
    trainer.fit(module, ckpt_path=resume, weights_only=True)
    trainer.strategy.barrier("trained")
    if not trainer.is_global_zero:
        return

    curve.write(curve_path)
    with replacing(out, KIND) as temporary:
        if (scratch / "snapshots").is_dir():
            shutil.copytree(scratch / "snapshots", temporary / "snapshots")
        write_denoiser(
            temporary,
            current_weights(module),
            {
                "schedule": config.schedule,
                "num_timesteps": config.num_timesteps,
                "prediction": config.prediction,
                "guidance": condition.guidance,
                "step": config.max_steps,
                **facts,
            },
        )
    discard(scratch)


def _check_boxes(boxes: Array | None, pixels: Array) -> None:
    if boxes is None:
        return
    size, remedy = pixels.shape[1], "run `dvc repro condition`"
    if boxes.ndim != 3 or boxes.shape[2] != 4 or len(boxes) != len(pixels):
        raise UserError(
            f"data/condition: boxes of shape {boxes.shape}, expected ({len(pixels)}, objects, 4), one row for each"
            f" image of data/images; {remedy}"
        )
    if boxes.size and (boxes.min() < 0 or boxes.max() > size):
        row = int(((boxes < 0) | (boxes > size)).any((1, 2)).argmax())
        raise UserError(
            f"data/condition: boxes of image {row} are {boxes[row].tolist()}, expected 0 to {size}, the side of the"
            f" images in data/images; {remedy}"
        )
