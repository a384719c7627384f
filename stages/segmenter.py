"""Fit what turns features of patches into classes, without annotation: STEGO, SmooSeg, or a control.

Reads data/patches and data/neighbours; writes models/segmenter.
"""

from selfguide.core.stage import parser, run
from selfguide.masks.train import fit
from selfguide.params import load_params
from selfguide.patches.artifact import PatchSet
from selfguide.patches.neighbours import Neighbours


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, patches="data/patches", neighbours="data/neighbours", out="models/segmenter").parse_args()
    params = load_params(args.params, args.set)
    fit(PatchSet.load(args.patches), Neighbours.load(args.neighbours), params.masks.segmenter, params.seed, args.out)


if __name__ == "__main__":
    run(main)
