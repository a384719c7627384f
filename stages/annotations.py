"""Turn labels or clusters into the guidance signal of one kind.

Reads data/images (none, ground_truth_label) or data/clusters (self_labeled); writes data/annotations/<guidance>.
"""

from selfguide.annotations import annotate
from selfguide.clusters.artifact import Clusters
from selfguide.core.stage import parser, run
from selfguide.images.artifact import ImageSet


def main() -> None:
    """Run the stage."""
    arguments = parser(__doc__, images="data/images", clusters="data/clusters", out="data/annotations/self_labeled")
    arguments.add_argument("--guidance", required=True, choices=["none", "ground_truth_label", "self_labeled"])
    args = arguments.parse_args()
    if args.guidance == "self_labeled":
        annotation = annotate.self_labeled(Clusters.load(args.clusters))
    elif args.guidance == "ground_truth_label":
        annotation = annotate.ground_truth_label(ImageSet.load(args.images))
    else:
        annotation = annotate.none(ImageSet.load(args.images))
    annotation.save(args.out)


if __name__ == "__main__":
    run(main)
