"""Score real images against real images: what perfect samples would get, and the real side of every score.

Reads data/reference; writes data/floor. It depends on the number of samples, not on the samples.
"""

from selfguide.core.stage import parser, run
from selfguide.metrics.floor import build_floors, save_floors
from selfguide.metrics.reference_set import Reference
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, reference="data/reference", out="data/floor").parse_args()
    params = load_params(args.params, args.set)
    floors = build_floors(Reference.load(args.reference), params.metrics, params.samples.num_images)
    save_floors(args.out, floors)


if __name__ == "__main__":
    run(main)
