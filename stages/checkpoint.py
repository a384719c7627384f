"""Choose the weights to sample from: the last ones, or the snapshot with the best metric.

Reads models/denoiser, data/condition and data/reference; writes models/checkpoint.
"""

from pathlib import Path

from selfguide.checkpoint.make import make_checkpoint
from selfguide.condition.artifact import Condition
from selfguide.core.stage import parser, run
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        model="models/denoiser",
        condition="data/condition",
        reference="data/reference",
        out="models/checkpoint",
    ).parse_args()
    params = load_params(args.params)
    make_checkpoint(
        Path(args.model),
        Condition.load(args.condition),
        Path(args.reference),
        params.checkpoint,
        params.samples,
        params.metrics,
        params.seed,
        Path(args.out),
    )


if __name__ == "__main__":
    run(main)
