"""Draws the samples. Reads a denoiser and the condition; writes data/samples and two pictures.

Under several ranks each draws its own batches of the same sample; a killed run keeps what it has drawn.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.condition.artifact import Condition
from selfguide.core.artifact import Array, replacing, save_array, write_meta
from selfguide.core.rows import fill_rows
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.core.seeding import numpy_generator
from selfguide.denoiser.artifact import Denoiser
from selfguide.samples.artifact import KIND
from selfguide.samples.batch_size import auto_batch_size
from selfguide.samples.compilation import compile_steps
from selfguide.samples.config import SamplesConfig
from selfguide.samples.generator import Generator, Settings


def draw_ids(condition: Condition, num_images: int, seed: int, given: tuple[int, ...] | None = None) -> Array:
    """The condition of each sample: int32 (M,).

    Args:
        condition: its ids are the empirical distribution.
        num_images: M; a larger M extends a smaller one.
        seed: of the draw.
        given: ids to repeat in turn instead.
    """
    if given is not None:
        return np.resize(np.asarray(given, np.int32), num_images)
    rows = numpy_generator(seed, "sampled conditions").integers(len(condition.ids), size=num_images)
    return np.asarray(condition.ids[rows])


def fill_samples(
    denoiser: Denoiser,
    ids: Array,
    w: float,
    seed: int,
    config: SamplesConfig,
    description: str,
    num_seeds: int = 1,
    weak: Denoiser | None = None,
) -> Callable[[Path], None] | None:
    """Draw one image per id; see `selfguide.core.rows.fill_rows` for what is returned.

    The ids are num_seeds equal parts; part r is drawn with seed + r, its images counted from 0. The weak model is for
    `samples.guiding: weak_model`.
    """
    if config.guiding != "weak_model":
        weak = None
    networks = nn.ModuleList(each.build(config.weights) for each in (denoiser, weak) if each is not None)
    generator = Generator(denoiser, *networks)
    settings = Settings.of(config, w)
    generator.check_settings(settings)
    chosen = torch.from_numpy(generator.check_ids(ids))
    size = generator.image_size
    batch_size = auto_batch_size(networks[0], size) if config.batch_size == "auto" else config.batch_size
    if config.compile:
        for network in networks:
            compile_steps(network)

    num = len(ids) // num_seeds

    def draw(start: int, stop: int, device: torch.device) -> Tensor:
        indices = torch.arange(start, stop) % num
        return generator.sample_batch(chosen[start:stop].to(device), indices, seed + start // num, settings)

    def function(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        edges = [start, *range((start // num + 1) * num, stop, num), stop]  # a batch may span two seeds
        return {"images": torch.cat([draw(*span, device) for span in pairwise(edges)])}

    scratch = scratch_folder(
        "samples",
        denoiser=denoiser.digest,
        step=denoiser.step,
        weak=None if weak is None else [weak.digest, weak.step, weak.network],
        ids=ids.tolist(),
        w=w,
        seed=seed,
        num_seeds=num_seeds,
        config={**config.model_dump(mode="json"), "batch_size": batch_size},
        code=digest_code("core", "denoiser", "samples"),
    )
    outputs = {"images": ((size, size, 3), "uint8")}
    return fill_rows(
        networks, function, len(ids), outputs, batch_size, scratch, description, precision=config.precision
    )


def generate(denoiser: Denoiser, condition: Condition, w: float, seed: int, config: SamplesConfig, out: Path) -> bool:
    """Draw the samples and write the artifact.

    Returns:
        Whether this is rank 0, which wrote it.

    Raises:
        UserError: ids or settings out of range, or no weak model where one is asked for.
    """
    seeds = range(seed, seed + config.num_seeds)
    ids = np.concatenate([draw_ids(condition, config.num_images, each, config.ids) for each in seeds])
    move = fill_samples(denoiser, ids, w, seed, config, "samples", config.num_seeds, denoiser.weak())
    if move is None:
        return False
    facts: dict[str, Any] = {
        "guidance": denoiser.guidance,
        "w": w,
        "seed": seed,
        "num_seeds": config.num_seeds,
        "denoiser": denoiser.digest,
        "config": config.model_dump(mode="json", exclude={"batch_size", "compile"}),
    }
    with replacing(out) as temporary:
        move(temporary)
        save_array(temporary / "ids.npy", ids.astype(np.int32))
        write_meta(temporary, KIND, num_images=len(ids), **facts)
    return True
