"""Makes models/checkpoint: the last weights, or those that `choose` finds best, with the weak model beside them."""

from pathlib import Path

from selfguide.checkpoint.config import CheckpointConfig
from selfguide.checkpoint.weak import find_weak
from selfguide.condition.artifact import Condition
from selfguide.denoiser.artifact import Denoiser, copy_denoiser
from selfguide.metrics.config import MetricsConfig
from selfguide.samples.config import SamplesConfig


def make_checkpoint(
    source: Path,
    condition: Condition,
    reference: Path,
    config: CheckpointConfig,
    samples: SamplesConfig,
    metrics: MetricsConfig,
    seed: int,
    out: Path,
) -> None:
    """Copy the chosen snapshot of the denoiser at `source` to `out`, with the scores in its meta.json.

    Args:
        source: folder of the trained denoiser.
        condition: conditions to sample from.
        reference: folder of the real images' features.
        config: the `checkpoint` section.
        samples, metrics: their sections; number of images and steps come from `config`.
        seed: of the samples.
        out: where the chosen denoiser goes.

    Raises:
        UserError: `config.metric` is not among the scores, or the weak model cannot be had.
    """
    final = Denoiser.load(source)
    weak = None if config.weak_model is None else find_weak(config.weak_model, final)
    if config.choice == "last":
        copy_denoiser(final, out, weak, choice="last")
        return
    # Not at the top: it brings Lightning and the metrics, seconds that a copy need not wait for.
    from selfguide.checkpoint.choose import choose

    choose(final, weak, condition, reference, config, samples, metrics, seed, out)
