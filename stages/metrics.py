"""Score the samples against the real images: FD (FID), KID, Inception Score, precision, recall, density, coverage.

Reads data/samples and data/reference; writes results/metrics.json. Every key names the network whose space it is in.
"""

from selfguide.core.artifact import write_json
from selfguide.core.stage import parser, run
from selfguide.metrics.evaluate import evaluate
from selfguide.params import load_params
from selfguide.samples.artifact import Samples


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, samples="data/samples", reference="data/reference", out="results/metrics.json").parse_args()
    params = load_params(args.params)
    scores = evaluate(Samples.load(args.samples).images, args.reference, params.metrics)
    if scores is not None:
        write_json(args.out, scores)


if __name__ == "__main__":
    run(main)
