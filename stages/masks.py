"""Segment every training image by the segmenter: a class for each pixel, without annotation.

Reads data/patches, models/segmenter and data/images (for a CRF, pixels); writes data/masks. Known masks, if there are
any, serve only the metrics and the picture: results/masks.json and results/masks.png.
"""

from selfguide.core.artifact import write_json
from selfguide.core.stage import parser, run
from selfguide.images.artifact import ImageSet
from selfguide.images.grid import save_picture
from selfguide.masks.build import build_masks
from selfguide.masks.measure import measure
from selfguide.masks.picture import draw_masks
from selfguide.params import load_params
from selfguide.patches.artifact import PatchSet
from selfguide.patches.extract import pictures


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        images="data/images",
        patches="data/patches",
        segmenter="models/segmenter",
        out="data/masks",
        metrics="results/masks.json",
        picture="results/masks.png",
    ).parse_args()
    params = load_params(args.params, args.set)
    patches, images = PatchSet.load(args.patches), ImageSet.load(args.images)
    own = pictures(params.patches, params.images, params.seed, args.images)[0]
    found = build_masks(params.masks, patches, args.segmenter, own, images.size, args.out)
    if found is not None:
        scores, assignment = measure(found, patches, args.segmenter, images, params.seed)
        write_json(args.metrics, scores)
        truth, columns = images.train.masks, params.masks.picture_columns
        picture = draw_masks(images.train.pixels, found.masks, truth, images.mask_names, assignment, columns)
        save_picture(args.picture, picture)


if __name__ == "__main__":
    run(main)
