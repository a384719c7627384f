"""Draw samples from the chosen denoiser with guidance strength w.

Reads models/checkpoint and data/condition; writes data/samples and pictures: an uncurated grid, a row per condition,
the same noise under rising w, and images on their way from noise.
"""

from pathlib import Path

from selfguide.condition.artifact import Condition
from selfguide.core.stage import parser, run
from selfguide.denoiser.artifact import Denoiser
from selfguide.params import load_params
from selfguide.samples.generate import Drawing, Pictures, draw_pictures, generate


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        model="models/checkpoint",
        condition="data/condition",
        out="data/samples",
        grid="results/grid.png",
        rows="results/rows.png",
        sweep="results/sweep.png",
        denoising="results/denoising.png",
    ).parse_args()
    params = load_params(args.params, args.set)
    denoiser, condition = Denoiser.load(args.model), Condition.load(args.condition)
    drawing = Drawing(denoiser, params.w, params.samples, denoiser.weak())
    samples = generate(drawing, condition, params.seed, Path(args.out))
    pictures = Pictures(args.grid, args.rows, args.sweep, args.denoising)
    draw_pictures(drawing, condition, params.seed, samples, pictures)


if __name__ == "__main__":
    run(main)
