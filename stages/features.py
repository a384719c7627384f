"""Run the frozen backbone over every training image.

Reads data/images (pixels only) and models/backbone; writes data/features.
"""

from pathlib import Path

from selfguide.core.stage import parser, run
from selfguide.features.extract import extract_features
from selfguide.images.artifact import load_pixels
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, images="data/images", backbone="models/backbone", out="data/features").parse_args()
    params = load_params(args.params, args.set)
    extract_features(params.features, load_pixels(args.images), Path(args.backbone), Path(args.out))


if __name__ == "__main__":
    run(main)
