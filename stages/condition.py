"""Make the condition that the denoiser trains on: the annotation's ids, a share of them permuted (`corruption`).

Reads data/annotations/<guidance>; writes data/condition.
"""

from selfguide.annotations.artifact import Annotation
from selfguide.condition.make import make_condition
from selfguide.core.stage import parser, run
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, annotation="data/annotations/self_labeled", out="data/condition").parse_args()
    params = load_params(args.params, args.set)
    make_condition(Annotation.load(args.annotation), params.corruption, params.seed).save(args.out)


if __name__ == "__main__":
    run(main)
