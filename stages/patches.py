"""Compute the features of all patches of the training images, once: dense features for masks.

Reads data/images (pixels only), the originals where the section says so, and models/backbone; writes data/patches.
"""

from pathlib import Path

from selfguide.core.stage import parser, run
from selfguide.params import load_params
from selfguide.patches.extract import extract_patches


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, images="data/images", backbone="models/backbone", out="data/patches").parse_args()
    params = load_params(args.params, args.set)
    extract_patches(params.patches, params.images, params.seed, args.images, Path(args.backbone), args.out)


if __name__ == "__main__":
    run(main)
