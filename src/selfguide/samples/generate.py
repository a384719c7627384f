"""Draws the samples. Reads a denoiser and the condition; writes data/samples and two pictures.

Under several ranks each draws its own batches of the same sample; a killed run keeps what it has drawn.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selfguide.condition.artifact import Condition
from selfguide.core.artifact import write_meta
from selfguide.core.errors import UserError, rerun
from selfguide.core.hardware import compile_mode, uses_cuda
from selfguide.core.rows import Filled, fill_rows
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.core.target import replacing
from selfguide.denoiser.artifact import Denoiser
from selfguide.samples.artifact import KIND, Samples
from selfguide.samples.batch_size import auto_batch_size
from selfguide.samples.config import SamplesConfig
from selfguide.samples.draw import draw_signal
from selfguide.samples.generator import Generator
from selfguide.samples.pictures import save_conditions, save_grid, save_rows
from selfguide.signal.render import Renderer
from selfguide.signal.signal import Signal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawing:
    """What images are drawn with.

    Attributes:
        denoiser: the model.
        w: guidance strength.
        config: the `samples` section.
        weak: for `samples.guiding: weak_model`; not used otherwise.
    """

    denoiser: Denoiser
    w: float
    config: SamplesConfig
    weak: Denoiser | None = None


def fill_samples(
    drawing: Drawing, signal: Signal, seed: int, description: str, num_seeds: int = 1, num_states: int = 0
) -> Filled | None:
    """Draw one image for each row of a signal; see `selfguide.core.rows.fill_rows` for what is returned.

    They are num_seeds equal parts; part r is drawn with seed + r, its images counted from 0. With num_states each row
    is so many states of the image instead: see `Generator.sample_batch`.
    """
    config, denoiser = drawing.config, drawing.denoiser
    weak = drawing.weak if config.guiding == "weak_model" else None
    networks = [each.build(config.weights) for each in (denoiser, weak) if each is not None]
    generator = Generator(denoiser, *networks)
    generator.check(config)
    signal.check("samples", "condition")
    conditions, size = Renderer(signal, generator.space.side), generator.image_size
    batch_size = auto_batch_size(networks[0]) if config.batch_size == "auto" else config.batch_size
    if config.compile:
        log.info("samples: compiling the network with torch.compile; the first batch of each size takes minutes")
        for network in networks:
            # The network has not moved to the GPU yet.
            network.compile_unrolled(compile_mode(torch.device("cuda" if uses_cuda() else "cpu")))

    num = len(signal) // num_seeds

    def draw(start: int, stop: int, device: torch.device) -> Tensor:
        indices = torch.arange(start, stop) % num
        c = conditions(slice(start, stop)).to(device)
        return generator.sample_batch(c, indices, seed + start // num, drawing.w, config, num_states)

    def function(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        edges = [start, *range((start // num + 1) * num, stop, num), stop]  # a batch may span two seeds
        return {"images": torch.cat([draw(*span, device) for span in pairwise(edges)])}

    scratch = scratch_folder(
        "samples",
        denoiser=denoiser.digest,
        step=denoiser.step,
        weak=None if weak is None else [weak.digest, weak.step],
        signal=signal.digest(),
        w=drawing.w,
        seed=seed,
        num_seeds=num_seeds,
        num_states=num_states,
        config={**config.model_dump(mode="json"), "batch_size": batch_size},
        code=digest_code("condition", "core", "denoiser", "samples", "signal", "space"),
    )
    shape = (num_states, size, size, 3) if num_states else (size, size, 3)
    outputs = {"images": (shape, "uint8")}
    modules = nn.ModuleList(networks)
    return fill_rows(
        modules, function, len(signal), outputs, batch_size, scratch, description, precision=config.precision
    )


def generate(drawing: Drawing, condition: Condition, seed: int, out: Path) -> Samples | None:
    """Draw the samples and write the artifact.

    Returns:
        What was written, on rank 0; None on other ranks.

    Raises:
        UserError: the condition is that of another guidance; ids, places or settings out of range, or no weak model
            where one is asked for.
    """
    config, denoiser = drawing.config, drawing.denoiser
    check_same_task(denoiser, condition)
    seeds = range(seed, seed + config.num_seeds)
    signal = Signal.concatenate(
        [draw_signal(condition, config.num_images, each, config.ids, config.places()) for each in seeds]
    )
    filled = fill_samples(drawing, signal, seed, "samples", config.num_seeds)
    if filled is None:
        return None
    with replacing(out, KIND) as temporary, filled(temporary):
        write_meta(
            temporary,
            KIND,
            num_images=len(signal),
            guidance=denoiser.task.guidance,
            w=drawing.w,
            seed=seed,
            num_seeds=config.num_seeds,
            denoiser=denoiser.digest,
            config=config.model_dump(mode="json", exclude={"batch_size", "compile"}),
            signal=signal.save(temporary),
        )
    return Samples.load(out)


def check_same_task(denoiser: Denoiser, condition: Condition) -> None:
    """Refuse to draw conditions for a denoiser that was trained on others: an id would stand for something else.

    Raises:
        UserError: they differ in guidance or in the form of the signal.
    """
    trained = {"guidance": denoiser.task.guidance, **denoiser.task.form.facts()}
    found = {"guidance": condition.guidance, **condition.signal.form.facts()}
    for key, expected in trained.items():
        if found[key] != expected:
            raise UserError(
                f"data/condition: expected {key} {expected}, as {denoiser.folder} was trained on, found {found[key]};"
                f" {rerun('condition', 'denoiser')}"
            )


#: Conditions, and samples of each, in the picture of a guidance with places.
_ROWS, _COLUMNS = 8, 8
#: Conditions, and columns, in the pictures of a sweep over w and of denoising; the largest w of the sweep.
_FEW, _STATES, _MOST_W = 4, 8, 3.0


class Pictures(NamedTuple):
    """PNGs of the samples: where rank 0 writes each."""

    grid: str
    rows: str
    sweep: str
    denoising: str


def draw_pictures(drawing: Drawing, condition: Condition, seed: int, samples: Samples | None, paths: Pictures) -> None:
    """The pictures of the samples: an uncurated grid; a row for each of some conditions; the same noise under rising w;
    and images on their way from noise.

    A place is hardly ever drawn twice, so that the samples themselves would not show what varies under one condition:
    with places, the rows are drawn for the picture.

    Args:
        drawing, condition, seed: as for `generate`.
        samples: what it returned.
        paths: of the pictures.
    """
    config, form = drawing.config, condition.signal.form
    if samples is not None:
        save_grid(paths.grid, samples.images, samples.signal.outlines())
    drawn = draw_signal(condition, config.num_images, seed, config.ids, config.places())
    if form.where is None:
        if samples is not None:
            save_rows(paths.rows, samples.images, samples.signal.ids)
    else:
        asked = drawn.take(np.repeat(drawn.distinct(_ROWS), _COLUMNS))
        filled = fill_samples(drawing, asked, seed, "rows")
        if filled is not None:
            save_conditions(paths.rows, filled.read()["images"], asked, _COLUMNS)
    few, strengths = drawn.take(drawn.distinct(_FEW)), np.linspace(0, _MOST_W, _STATES)
    swept = []
    for w in strengths.tolist():
        filled = fill_samples(replace(drawing, w=w), few, seed, f"w = {w:.2f}")
        swept += [] if filled is None else [filled.read()["images"]]
    states = fill_samples(drawing, few, seed, "denoising", num_states=_STATES)
    if states is None:
        return
    images = np.stack(swept, axis=1).reshape(-1, *swept[0].shape[1:])
    save_conditions(paths.sweep, images, few.take(np.repeat(np.arange(len(few)), _STATES)), _STATES,
                    captions=[f"w = {w:.2f}" for w in strengths])  # fmt: skip
    on_the_way = states.read()["images"].reshape(-1, *images.shape[1:])
    save_conditions(paths.denoising, on_the_way, few.take(np.repeat(np.arange(len(few)), _STATES)), _STATES)
