"""Read or render the images, split off held-out ones, and keep what is known about them."""

import logging

from selfguide.core.errors import shown
from selfguide.core.stage import parser, run
from selfguide.images.build import build
from selfguide.images.grid import draw_images, save_picture
from selfguide.params import load_params


def main() -> None:
    args = parser(__doc__, out="data/images", picture="results/images.png").parse_args()
    params = load_params(args.params, args.set)
    images = build(params.images, params.seed, args.out)
    save_picture(args.picture, draw_images(images.train, images.class_names))
    logging.getLogger(__name__).info(
        "images: %d training and %d held-out images of %d px, %s, %d files skipped",
        len(images.train),
        len(images.heldout) if images.heldout else 0,
        images.size,
        _describe(images.class_names),
        images.num_skipped,
    )


def _describe(names: tuple[str, ...] | None) -> str:
    if names is None:
        return "no labels"
    listed = ", ".join(shown(name, 40) for name in names[:10])
    return f"{len(names)} classes ({listed}{', ...' if len(names) > 10 else ''})"


if __name__ == "__main__":
    run(main)
