"""Compute the features of real images, train and held-out, in every network that samples are scored in.

Reads data/images; writes data/reference.
"""

from selfguide.core.stage import parser, run
from selfguide.images.artifact import ImageSet
from selfguide.params import load_params
from selfguide.reference.build import build_reference


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, images="data/images", out="data/reference").parse_args()
    params = load_params(args.params, args.set)
    reference = build_reference(ImageSet.load(args.images), params.reference)
    if reference is not None:
        reference.save(args.out)


if __name__ == "__main__":
    run(main)
