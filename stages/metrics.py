"""Score the samples against the real images: FD (FID), KID, Inception Score, precision, recall, density, coverage.

Reads data/samples, data/images, data/condition, data/reference and data/floor; writes results/metrics.json, a table of
the conditions, worst first, and a picture of the samples nearest to training images. Every key names the network whose
space it is in.

With --real and --fake it scores any two image sets instead, each a folder, .zip, .npy or .npz, and prints the scores:
python -m stages.metrics --real photos/ --fake samples.npy --heldout other_photos/ --network efficientnet_lite0
"""

import json

from selfguide.condition.artifact import Condition
from selfguide.core.artifact import write_json
from selfguide.core.stage import parser, path_option, run
from selfguide.images.artifact import ImageSet
from selfguide.metrics.compare import compare
from selfguide.metrics.pairs import save_pairs
from selfguide.metrics.report import report
from selfguide.params import load_params
from selfguide.samples.artifact import Samples


def main() -> None:
    """Run the stage."""
    options = parser(__doc__, samples="data/samples", images="data/images", condition="data/condition",
                     reference="data/reference", floor="data/floor", out="results/metrics.json",
                     per_cluster="results/per_cluster.csv", pairs="results/pairs.png")  # fmt: skip
    options.add_argument("--real", type=path_option, metavar="PATH", help="real images, for the scores of any two sets")
    options.add_argument("--fake", type=path_option, metavar="PATH", help="the images to score against them")
    options.add_argument("--heldout", type=path_option, metavar="PATH", help="other real images, for floors and copies")
    options.add_argument("--network", nargs="+", metavar="NAME", help="default: reference.networks of the parameters")
    options.add_argument("--backbone", type=path_option, metavar="PATH", help="folder behind the network `backbone`")
    args = options.parse_args()
    if (args.real is None) != (args.fake is None):
        options.error("--real and --fake go together")
    params = load_params(args.params, args.set)
    config = params.metrics
    if args.real is not None:
        backbone = args.backbone or params.reference.backbone
        pairs = None if args.pairs == options.get_default("pairs") else args.pairs  # those are the pipeline's
        networks = args.network or params.reference.networks
        scores = compare(args.real, args.fake, args.heldout, networks, backbone, config, pairs)
        if scores is not None:
            print(json.dumps(scores, indent=2))
        return
    samples, images = Samples.load(args.samples), ImageSet.load(args.images)
    condition = Condition.load(args.condition)
    found = report(samples, condition, args.reference, args.floor, config)
    if found is not None:
        write_json(args.out, found.scores)
        found.per_cluster.save_csv(args.per_cluster)
        near, heldout = found.neighbours, None
        if images.heldout is not None and found.heldout is not None:
            heldout = (images.heldout.pixels, found.heldout.distances, found.heldout.indices)
        save_pairs(args.pairs, samples.images, images.train.pixels, near.distances, near.indices, heldout)


if __name__ == "__main__":
    run(main)
