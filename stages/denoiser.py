"""Train the denoiser on images and their conditions, with classifier-free guidance's condition drop.

Reads data/images and data/condition; writes models/denoiser and the loss curve. Kill it and run it again: it goes on
from the last state of the same configuration, data and code.
"""

from pathlib import Path

from selfguide.condition.artifact import Condition
from selfguide.core.stage import parser, run
from selfguide.denoiser.train import train
from selfguide.images.artifact import digest_pixels, load_pixels
from selfguide.params import load_params
from selfguide.samples.preview import Preview


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        images="data/images",
        condition="data/condition",
        out="models/denoiser",
        curve="results/denoiser/curve.csv",
    ).parse_args()
    params = load_params(args.params)
    condition = Condition.load(args.condition)
    every = params.denoiser.preview_every_steps
    train(
        load_pixels(args.images),
        condition,
        params.denoiser,
        params.seed,
        Path(args.out),
        Path(args.curve),
        images_digest=digest_pixels(args.images),
        # Not the dial w: a new w must not retrain.
        callbacks=[Preview(condition, every, w=2.0)] if every else [],
    )


if __name__ == "__main__":
    run(main)
