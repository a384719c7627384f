"""Turn labels, clusters and boxes into the guidance signal of one kind.

Reads what the kind is made of: data/images, or data/clusters and data/boxes; writes data/annotations/<guidance>. Where
an annotator found places, a copy of it goes along, so that they can be found in samples in the same way.
"""

from selfguide.annotations.registry import INPUTS, KINDS
from selfguide.core.stage import parser, run


def main() -> None:
    """Run the stage."""
    folders = {name: folder for name, (folder, _) in INPUTS.items()}
    arguments = parser(__doc__, **folders, out="data/annotations/self_labeled")
    arguments.add_argument("--guidance", required=True, choices=KINDS)
    args = arguments.parse_args()
    kind = KINDS[args.guidance]
    kind.make(**{name: INPUTS[name][1](getattr(args, name)) for name in kind.inputs}).save(args.out)


if __name__ == "__main__":
    run(main)
