"""Ask whether the samples obey: run the annotator on them, and compare its boxes with those that they were asked for.

Reads data/samples and the annotator beside the annotation; writes results/obedience.json, which is {} for a guidance
without an annotator of boxes.
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
    params = load_params(args.params)
    samples, annotator = Samples.load(args.samples), Path(args.annotation) / "annotator"
    if samples.boxes is None or not annotator.is_dir():
        write_json(args.out, {})
        return
    # Not at the top: it imports torch and Lightning, seconds that most guidance kinds need not wait for.
    from selfguide.obedience.measure import find_boxes, measure

    found = find_boxes(annotator, samples.images, params.seed)
    if found is not None:
        write_json(args.out, measure(samples.boxes, *found))


if __name__ == "__main__":
    run(main)
