"""Say which guidance is asked for; writes data/guidance.json.

It runs before the condition is made, for the sake of its error: DVC itself would answer a misspelt guidance by missing
the annotation of that name, and not say which names there are.
"""

from selfguide.core.artifact import write_json
from selfguide.core.stage import parser, run
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(__doc__, out="data/guidance.json").parse_args()
    write_json(args.out, {"guidance": load_params(args.params, args.set).guidance})


if __name__ == "__main__":
    run(main)
