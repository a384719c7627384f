"""Ask whether the samples obey: run the annotator on them, and compare what it finds with what they were asked for.

Reads data/samples and the annotator beside the annotation; writes results/obedience.json, which is {} for a guidance
without an annotator.
"""

from pathlib import Path

from selfguide.core.artifact import write_json
from selfguide.core.stage import parser, run
from selfguide.params import load_params
from selfguide.samples.artifact import Samples


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        samples="data/samples",
        annotation="data/annotations/self_boxed",
        out="results/obedience.json",
    ).parse_args()
    params = load_params(args.params, args.set)
    samples, annotator = Samples.load(args.samples), Path(args.annotation) / "annotator"
    if not annotator.is_dir():
        write_json(args.out, {})
        return
    # Not at the top: it imports torch and Lightning, seconds that most guidance kinds need not wait for.
    from selfguide.obedience.registry import measure

    scores = measure(samples, annotator, params.seed)
    if scores is not None:
        write_json(args.out, scores)


if __name__ == "__main__":
    run(main)
