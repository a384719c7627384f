"""Make the network that turns images into features: train it on the images, or load published or local weights.

Reads data/images (pixels only); writes models/backbone and results/backbone/curve.csv.
"""

from pathlib import Path

from selfguide.backbone.prepare import prepare_backbone
from selfguide.core.stage import parser, run
from selfguide.images.artifact import load_pixels
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, images="data/images", out="models/backbone", curve="results/backbone/curve.csv").parse_args()
    params = load_params(args.params, args.set)
    prepare_backbone(params.backbone, load_pixels(args.images), params.seed, Path(args.out), Path(args.curve))


if __name__ == "__main__":
    run(main)
