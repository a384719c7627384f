"""Chooses the snapshot whose samples score best.

It stands apart from training, so that an edit of the metrics never retrains and every snapshot is scored alike.
"""

import logging
from pathlib import Path

import numpy as np

from selfguide.checkpoint.config import CheckpointConfig
from selfguide.condition.artifact import Condition
from selfguide.core import runtime
from selfguide.core.config import nearest
from selfguide.core.errors import UserError
from selfguide.core.scratch import claim, discard, empty, scratch_folder
from selfguide.denoiser.artifact import Denoiser, copy_denoiser
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.evaluate import evaluate
from selfguide.metrics.keys import CRITERIA
from selfguide.samples.conditions import draw_conditions
from selfguide.samples.config import SamplesConfig
from selfguide.samples.generate import check_same_task, fill_samples

log = logging.getLogger(__name__)


def choose(
    final: Denoiser,
    weak: Denoiser | None,
    condition: Condition,
    reference: Path,
    config: CheckpointConfig,
    samples: SamplesConfig,
    metrics: MetricsConfig,
    seed: int,
    out: Path,
) -> None:
    """Draw from every snapshot, score the images, and copy the best one to `out`, with the scores in its meta.json.

    Args:
        final: the trained denoiser, which has the snapshots.
        weak: for samples.guiding: weak_model, and then only later snapshots are candidates.
        condition, reference, config, samples, metrics, seed, out: see `make.make_checkpoint`.

    Raises:
        UserError: `config.metric` is not among the scores.
    """
    check_same_task(final, condition)
    settings = samples.model_copy(update={"num_images": config.num_images, "num_steps": config.num_steps})
    scores: dict[int, float] = {}
    scratch = scratch_folder("checkpoint", denoiser=final.digest)
    images = scratch / "images"
    # A snapshot guided by itself or by a later one is not guided.
    first = config.weak_model if isinstance(config.weak_model, int) else 0
    for snapshot in (each for each in final.snapshots() if each.step > first):
        asked = draw_conditions(condition, config.num_images, seed, settings.ids, settings.boxes)
        description = f"snapshot {snapshot.step}"
        filled = fill_samples(snapshot, asked, config.w, seed, settings, description, weak=weak)
        if filled is not None:
            claim(scratch)
            empty(scratch)
            images.mkdir()
            with filled(images):
                pass
        runtime.barrier()
        found = evaluate(np.load(images / "images.npy", mmap_mode="r"), reference, metrics)
        if found is None:
            continue
        known = sorted(found.keys() & CRITERIA.keys())
        if config.metric not in known:
            raise UserError(
                f"checkpoint.metric: unknown '{config.metric}'; known: {', '.join(known)}"
                f"{nearest(config.metric, known)}"
            )
        scores[snapshot.step] = found[config.metric]
        log.info("checkpoint: step %d, %s %.4f", snapshot.step, config.metric, found[config.metric])
    if not scores:
        return
    discard(scratch)
    best = CRITERIA[config.metric](scores, key=lambda step: scores[step])
    chosen = next(snapshot for snapshot in final.snapshots() if snapshot.step == best)
    table = {str(step): score for step, score in scores.items()}
    copy_denoiser(chosen, out, weak, choice="best", metric=config.metric, scores=table)
