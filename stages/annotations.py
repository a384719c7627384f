"""Turn labels, clusters and boxes into the guidance signal of one kind.

Reads data/images (none, ground_truth_label, ground_truth_boxed), data/clusters (self_labeled, self_boxed) and
data/boxes (self_boxed); writes data/annotations/<guidance>. That of self_boxed takes a copy of the annotator along, so
that boxes can be found in samples in the same way.
"""

from selfguide.annotations import annotate
from selfguide.boxes.annotator import save_annotator
from selfguide.boxes.artifact import FoundBoxes
from selfguide.boxes.config import BoxesConfig
from selfguide.clusters.artifact import Clusters
from selfguide.core.config import parse
from selfguide.core.stage import parser, run
from selfguide.images.artifact import ImageSet

FROM_IMAGES = {
    "none": annotate.none,
    "ground_truth_label": annotate.ground_truth_label,
    "ground_truth_boxed": annotate.ground_truth_boxed,
}


def main() -> None:
    """Run the stage."""
    arguments = parser(
        __doc__,
        images="data/images",
        backbone="models/backbone",
        clusters="data/clusters",
        boxes="data/boxes",
        out="data/annotations/self_labeled",
    )
    arguments.add_argument("--guidance", required=True, choices=[*FROM_IMAGES, "self_labeled", "self_boxed"])
    args = arguments.parse_args()
    if args.guidance in FROM_IMAGES:
        FROM_IMAGES[args.guidance](ImageSet.load(args.images)).save(args.out)
        return
    clusters = Clusters.load(args.clusters)
    if args.guidance == "self_labeled":
        annotate.self_labeled(clusters).save(args.out)
        return
    boxes = FoundBoxes.load(args.boxes)
    config = parse(BoxesConfig, boxes.config, f"{args.boxes}/meta.json")
    annotation = annotate.self_boxed(clusters, boxes.boxes)
    annotation.save(args.out, lambda folder: save_annotator(folder / "annotator", args.backbone, config))


if __name__ == "__main__":
    run(main)
