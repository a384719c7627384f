"""Find a box around the object of every training image, without annotation: LOST, TokenCut, or a control.

Reads data/images (pixels only) and models/backbone; writes data/boxes. Known boxes, if there are any, serve only the
metrics and the picture: results/boxes.json and results/boxes.png.
"""

from pathlib import Path

from selfguide.boxes.build import build_boxes
from selfguide.boxes.metrics import measure
from selfguide.boxes.picture import draw_boxes
from selfguide.core.artifact import write_json
from selfguide.core.stage import parser, run
from selfguide.images.artifact import ImageSet
from selfguide.images.grid import save_picture
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        images="data/images",
        backbone="models/backbone",
        out="data/boxes",
        metrics="results/boxes.json",
        picture="results/boxes.png",
    ).parse_args()
    params = load_params(args.params, args.set)
    found = build_boxes(params.boxes, params.images, params.seed, args.images, Path(args.backbone), args.out)
    if found is not None:
        train = ImageSet.load(args.images).train
        write_json(args.metrics, measure(found.boxes, found.fallback, found.size, train.boxes))
        save_picture(args.picture, draw_boxes(train.pixels, found.boxes, train.boxes))


if __name__ == "__main__":
    run(main)
