"""Find the nearest neighbours of each image, or of each crop, by the mean of its patches.

Reads data/patches; writes data/neighbours.
"""

from selfguide.core.stage import parser, run
from selfguide.patches.artifact import PatchSet
from selfguide.patches.neighbours import find_neighbours


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, patches="data/patches", out="data/neighbours").parse_args()
    find_neighbours(PatchSet.load(args.patches), args.out)


if __name__ == "__main__":
    run(main)
