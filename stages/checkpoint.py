"""Choose the weights to sample from: the last ones, or the snapshot with the best metric.

Reads models/denoiser, data/condition and data/reference; writes models/checkpoint and a picture with a row for each
snapshot. While a training runs, its snapshots are looked at by stages.samples --model.
"""

from pathlib import Path

from selfguide.checkpoint.make import make_checkpoint
from selfguide.condition.artifact import Condition
from selfguide.core.stage import parser, run
from selfguide.metrics.evaluate import evaluate
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        model="models/denoiser",
        condition="data/condition",
        reference="data/reference",
        out="models/checkpoint",
        picture="results/snapshots.png",
    ).parse_args()
    params = load_params(args.params, args.set)
    make_checkpoint(
        Path(args.model),
        Condition.load(args.condition),
        params.checkpoint,
        params.samples,
        params.seed,
        lambda images: evaluate(images, args.reference, params.metrics),
        Path(args.out),
        args.picture,
    )


if __name__ == "__main__":
    run(main)
