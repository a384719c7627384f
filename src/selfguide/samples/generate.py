"""Draws the samples. Reads a denoiser and the condition; writes data/samples and two pictures.

Under several ranks each draws its own batches of the same sample; a killed run keeps what it has drawn.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.annotations.artifact import save_signal
from selfguide.condition.artifact import Condition
from selfguide.core.artifact import write_meta
from selfguide.core.errors import UserError
from selfguide.core.rows import Filled, fill_rows
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.core.target import replacing
from selfguide.denoiser.artifact import Denoiser
from selfguide.samples.artifact import KIND
from selfguide.samples.batch_size import auto_batch_size
from selfguide.samples.compilation import compile_steps
from selfguide.samples.conditions import Conditions, draw_conditions
from selfguide.samples.config import SamplesConfig
from selfguide.samples.generator import Generator, Settings
from selfguide.samples.pictures import repeated, save_conditions


def fill_samples(
    denoiser: Denoiser,
    conditions: Conditions,
    w: float,
    seed: int,
    config: SamplesConfig,
    description: str,
    num_seeds: int = 1,
    weak: Denoiser | None = None,
) -> Filled | None:
    """Draw one image per condition; see `selfguide.core.rows.fill_rows` for what is returned.

    They are num_seeds equal parts; part r is drawn with seed + r, its images counted from 0. The weak model is for
    `samples.guiding: weak_model`.
    """
    if config.guiding != "weak_model":
        weak = None
    networks = nn.ModuleList(each.build(config.weights) for each in (denoiser, weak) if each is not None)
    generator = Generator(denoiser, *networks)
    settings = Settings.of(config, w)
    generator.check_settings(settings)
    ids, masks = generator.signal(conditions)
    size = generator.image_size
    batch_size = auto_batch_size(networks[0], size) if config.batch_size == "auto" else config.batch_size
    if config.compile:
        for network in networks:
            compile_steps(network)

    num = len(conditions) // num_seeds

    def draw(start: int, stop: int, device: torch.device) -> Tensor:
        indices = torch.arange(start, stop) % num
        mask = None if masks is None else masks(start, stop).to(device)
        return generator.sample_batch(ids[start:stop].to(device), indices, seed + start // num, settings, mask)

    def function(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        edges = [start, *range((start // num + 1) * num, stop, num), stop]  # a batch may span two seeds
        return {"images": torch.cat([draw(*span, device) for span in pairwise(edges)])}

    scratch = scratch_folder(
        "samples",
        denoiser=denoiser.digest,
        step=denoiser.step,
        weak=None if weak is None else [weak.digest, weak.step, weak.network],
        ids=conditions.ids.tolist(),
        boxes=None if conditions.boxes is None else conditions.boxes.tolist(),
        w=w,
        seed=seed,
        num_seeds=num_seeds,
        config={**config.model_dump(mode="json"), "batch_size": batch_size},
        code=digest_code("condition", "core", "denoiser", "samples"),
    )
    outputs = {"images": ((size, size, 3), "uint8")}
    return fill_rows(
        networks, function, len(conditions), outputs, batch_size, scratch, description, precision=config.precision
    )


def generate(denoiser: Denoiser, condition: Condition, w: float, seed: int, config: SamplesConfig, out: Path) -> bool:
    """Draw the samples and write the artifact.

    Returns:
        Whether this is rank 0, which wrote it.

    Raises:
        UserError: the condition is that of another guidance; ids, boxes or settings out of range, or no weak model
            where one is asked for.
    """
    check_same_task(denoiser, condition)
    seeds = range(seed, seed + config.num_seeds)
    conditions = Conditions.concatenate(
        [draw_conditions(condition, config.num_images, each, config.ids, config.boxes) for each in seeds]
    )
    filled = fill_samples(denoiser, conditions, w, seed, config, "samples", config.num_seeds, denoiser.weak())
    if filled is None:
        return False
    facts: dict[str, Any] = {
        "guidance": denoiser.guidance,
        "num_ids": denoiser.network["num_ids"],
        "w": w,
        "seed": seed,
        "num_seeds": config.num_seeds,
        "denoiser": denoiser.digest,
        "config": config.model_dump(mode="json", exclude={"batch_size", "compile"}),
    }
    with replacing(out, KIND) as temporary, filled(temporary):
        shapes = save_signal(temporary, conditions.ids, conditions.boxes)
        write_meta(temporary, KIND, num_images=len(conditions), **facts, **shapes)
    return True


def check_same_task(denoiser: Denoiser, condition: Condition) -> None:
    """Refuse to draw conditions for a denoiser that was trained on others: an id would stand for something else.

    Raises:
        UserError: they differ in guidance or number of ids.
    """
    trained = (denoiser.guidance, denoiser.network["num_ids"])
    if trained != (condition.guidance, condition.num_ids):
        raise UserError(
            f"data/condition: expected guidance {trained[0]} with {trained[1]} ids, as {denoiser.meta.folder} was"
            f" trained on, found {condition.guidance} with {condition.num_ids}; run `dvc repro condition denoiser`"
        )


#: Conditions, and samples of each, in the picture of boxed guidance.
_ROWS, _COLUMNS = 8, 8


def draw_condition_rows(
    denoiser: Denoiser, condition: Condition, w: float, seed: int, config: SamplesConfig, picture: Path
) -> None:
    """Draw several images of each of the first conditions of `generate`, for the picture of boxed guidance.

    A box is hardly ever drawn twice, so the samples themselves do not show what varies under one condition.

    Args:
        denoiser, condition, w, seed, config: as for `generate`; the condition has boxes.
        picture: PNG that rank 0 writes.
    """
    drawn = draw_conditions(condition, config.num_images, seed, config.ids, config.boxes)
    asked = repeated(drawn, _ROWS, _COLUMNS)
    filled = fill_samples(denoiser, asked, w, seed, config, "rows", weak=denoiser.weak())
    if filled is not None:
        with TemporaryDirectory() as folder, filled(Path(folder)):
            save_conditions(picture, np.load(Path(folder) / "images.npy"), asked, _COLUMNS)
