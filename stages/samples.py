"""Draw samples from the chosen denoiser with guidance strength w.

Reads models/checkpoint and data/condition; writes data/samples, an uncurated grid and a picture with a row per
condition.
"""

from pathlib import Path

from selfguide.condition.artifact import Condition
from selfguide.core.stage import parser, run
from selfguide.denoiser.artifact import Denoiser
from selfguide.params import load_params
from selfguide.samples.artifact import Samples
from selfguide.samples.generate import draw_condition_rows, generate
from selfguide.samples.pictures import save_grid, save_rows


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        model="models/checkpoint",
        condition="data/condition",
        out="data/samples",
        grid="results/grid.png",
        rows="results/rows.png",
    ).parse_args()
    params = load_params(args.params)
    denoiser, condition = Denoiser.load(args.model), Condition.load(args.condition)
    settings = (denoiser, condition, params.w, params.seed, params.samples)
    wrote = generate(*settings, Path(args.out))
    if wrote:
        samples = Samples.load(args.out)
        save_grid(args.grid, samples.images, samples.boxes)
    if condition.boxes is not None:
        draw_condition_rows(*settings, Path(args.rows))
    elif wrote:
        save_rows(args.rows, samples.images, samples.ids)


if __name__ == "__main__":
    run(main)
