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
from selfguide.space.pixels import Pixels
from selfguide.space.space import Encoded


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        images="data/images",
        condition="data/condition",
        out="models/denoiser",
        curve="results/denoiser/curve.csv",
    ).parse_args()
    params = load_params(args.params, args.set)
    pixels = load_pixels(args.images)
    train(
        Encoded(Pixels(int(pixels.shape[1])), pixels, digest_pixels(args.images)),
        Condition.load(args.condition),
        params.denoiser,
        params.seed,
        Path(args.out),
        Path(args.curve),
    )


if __name__ == "__main__":
    run(main)
