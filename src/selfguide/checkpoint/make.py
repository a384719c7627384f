"""Makes models/checkpoint: the last weights, or those whose samples score best, with the weak model beside them.

It stands apart from training, so that an edit of samplers or metrics never retrains and every snapshot is looked at
alike.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from selfguide.checkpoint.config import CheckpointConfig
from selfguide.checkpoint.weak import find_weak
from selfguide.condition.artifact import Condition
from selfguide.core import runtime
from selfguide.core.artifact import Array
from selfguide.core.config import nearest
from selfguide.core.errors import UserError
from selfguide.core.scratch import claim, discard, empty, scratch_folder
from selfguide.denoiser.artifact import Denoiser, copy_denoiser
from selfguide.metrics.keys import CRITERIA
from selfguide.samples.config import SamplesConfig
from selfguide.samples.draw import draw_signal
from selfguide.samples.generate import Drawing, check_same_task, fill_samples
from selfguide.samples.pictures import save_steps

log = logging.getLogger(__name__)

#: Scores of images, uint8 (M, S, S, 3), by their key; None on ranks other than 0.
Score = Callable[[Array], dict[str, float] | None]
#: Images of each snapshot in the picture.
_COLUMNS = 12


def make_checkpoint(
    source: Path,
    condition: Condition,
    config: CheckpointConfig,
    samples: SamplesConfig,
    seed: int,
    score: Score,
    out: Path,
    picture: str | Path,
) -> None:
    """Draw from every snapshot of the denoiser at `source`, and copy the chosen one to `out`.

    Args:
        source: folder of the trained denoiser.
        condition: conditions to sample from.
        config: the `checkpoint` section.
        samples: their section; number of images and steps come from `config`.
        seed: of the samples.
        score: of a snapshot's images; called where `config.choice` is best.
        out: where the chosen denoiser goes, with the scores in its meta.json.
        picture: PNG of the first images, a row for each snapshot.

    Raises:
        UserError: `config.metric` is not among the scores, or the weak model cannot be had.
    """
    final = Denoiser.load(source)
    check_same_task(final, condition)
    weak = None if config.weak_model is None else find_weak(config.weak_model, final)
    is_best = config.choice == "best"
    num = config.num_images if is_best else min(_COLUMNS, config.num_images)
    settings = samples.model_copy(update={"num_images": num, "num_steps": config.num_steps})
    asked = draw_signal(condition, num, seed, settings.ids, settings.places())
    shown: dict[int, Array] = {}
    scores: dict[int, float] = {}
    scratch = scratch_folder("checkpoint", denoiser=final.digest)
    images = scratch / "images"
    # A snapshot guided by itself or by a later one is not guided.
    first = config.weak_model if isinstance(config.weak_model, int) else 0
    for snapshot in (each for each in final.snapshots() if each.step > first):
        drawing = Drawing(snapshot, config.w, settings, weak)
        filled = fill_samples(drawing, asked, seed, f"snapshot {snapshot.step}")
        if filled is not None:
            claim(scratch)
            empty(scratch)
            images.mkdir()
            with filled(images):
                pass
            shown[snapshot.step] = np.load(images / "images.npy", mmap_mode="r")[:_COLUMNS].copy()
        runtime.barrier()
        found = score(np.load(images / "images.npy", mmap_mode="r")) if is_best else None
        if found is not None:
            scores[snapshot.step] = _criterion(found, config.metric)
            log.info("checkpoint: step %d, %s %.4f", snapshot.step, config.metric, scores[snapshot.step])
    if not shown:
        return
    discard(scratch)
    save_steps(picture, shown)
    if not is_best:
        copy_denoiser(final, out, weak, choice="last")
        return
    best = CRITERIA[config.metric](scores, key=lambda step: scores[step])
    chosen = next(snapshot for snapshot in final.snapshots() if snapshot.step == best)
    table = {str(step): score for step, score in scores.items()}
    copy_denoiser(chosen, out, weak, choice="best", metric=config.metric, scores=table)


def _criterion(scores: dict[str, float], metric: str) -> float:
    known = sorted(scores.keys() & CRITERIA.keys())
    if metric not in known:
        raise UserError(f"checkpoint.metric: unknown '{metric}'; known: {', '.join(known)}{nearest(metric, known)}")
    return scores[metric]
