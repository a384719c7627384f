"""What every score says of image sets whose fault is known: blurred, noisy, a class missing, copied, ...

    python studies/sensitivity/run.py --train FOLDER_OR_ZIP ... --heldout FOLDER_OR_ZIP ...

Train images become three disjoint sets: the reference, and `num` others, which play the samples, as they are or
degraded. So no row but the copies shares an image with what it is compared to. A network sees each set once: features
are kept in --cache, and what is a part or a mixture of others is put together from those. Writes runs.csv and runs.md.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from selfguide.core.digest import digest_json
from selfguide.core.errors import UserError
from selfguide.core.stage import run
from selfguide.images.artifact import ImageSet, Pixels
from selfguide.images.build import build
from selfguide.images.config import ImagesConfig
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.evaluate import score
from selfguide.metrics.extract import digest_pixels, extract
from selfguide.metrics.feature_set import FeatureSet
from selfguide.metrics.floor import Floor, compute_floor
from selfguide.metrics.frechet import Moments
from selfguide.metrics.networks.network import FeatureNetwork
from selfguide.metrics.networks.registry import build_network
from selfguide.metrics.reference_set import RealFeatures

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from report import Row, publish, write_csv  # noqa: E402

SEED = 0
BATCH_SIZE = 16
#: Title => key of `score`, factor, format.
COLUMNS = {
    "N": ("num_samples", 1, "{:.0f}"),
    "FD": ("{key}", 1, "{:.2f}"),
    "FD held-out": ("{key}_heldout", 1, "{:.2f}"),
    "KID x 1000": ("kid_{name}", 1000, "{:.2f}"),
    "IS": ("is_{name}", 1, "{:.2f}"),
    "precision": ("precision_{name}", 1, "{:.3f}"),
    "recall": ("recall_{name}", 1, "{:.3f}"),
    "density": ("density_{name}", 1, "{:.2f}"),
    "coverage": ("coverage_{name}", 1, "{:.3f}"),
    "distance to nearest": ("nn_distance_{name}", 1, "{:.2f}"),
    "copying AUC": ("copying_auc_{name}", 1, "{:.3f}"),
    "copied": ("copied_{name}", 1, "{:.3f}"),
    "flagged": ("copying_flagged_{name}", 1, "{:.0f}"),
}


def jpeg(pixels: Pixels) -> Pixels:
    """Saved as JPEG of quality 50 and read again."""

    def compress(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=50)
        return Image.open(file)

    return np.stack([np.asarray(compress(Image.fromarray(image))) for image in pixels])


def blur(pixels: Pixels) -> Pixels:
    """Gaussian blur of radius 1 pixel."""
    return np.stack([np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1))) for image in pixels])


def noise(pixels: Pixels) -> Pixels:
    """Gaussian noise, standard deviation 15 of 255."""
    added = np.random.default_rng(SEED).normal(0, 15, pixels.shape).astype(np.float32)
    noisy: Pixels = np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8)
    return noisy


def flip(pixels: Pixels) -> Pixels:
    """Mirrored left to right."""
    return np.ascontiguousarray(pixels[:, :, ::-1])


def features_of(name: str, pixels: Pixels, network: FeatureNetwork, cache: Path) -> FeatureSet:
    """From `cache`, or extracted into it."""
    facts = {"images": digest_pixels(pixels), "weights": network.weights, "preprocessing": network.preprocessing}
    folder = cache / network.name / f"{name}-{digest_json(facts)[:12]}"
    if not folder.exists():
        found = extract(network, pixels, BATCH_SIZE, {"use": "sensitivity"})
        assert found is not None  # one process
        found.save(folder)
    print(f"features of {name}: {folder}", flush=True)
    return FeatureSet.load(folder, "of studies/sensitivity/run.py")


def mixture(copies: FeatureSet, others: FeatureSet, num: int) -> FeatureSet:
    """The first `num` of `copies`, and `others` from there on."""
    features = np.concatenate([copies.features[:num], others.features[num:]])
    logits = np.concatenate([copies.logits[:num], others.logits[num:]])
    return dataclasses.replace(others, features=features, logits=logits, moments=Moments.of(features))


def read_images(args: argparse.Namespace) -> ImageSet:
    config = ImagesConfig(
        source="image_folder", path=tuple(args.train), heldout_path=tuple(args.heldout), download=False,
        unreadable="error", max_pixels=180_000_000, size=args.size, crop="center",
        num_train=args.num_reference + args.num, num_heldout=args.num,
        scene_objects=1, split=None, heldout_split=None, annotations=None, crop_scale=(1.05, 1.25), num_views=1,
        masks=None, mask_classes=None,
    )  # fmt: skip
    return build(config, SEED, args.cache / "images")


def extract_all(
    images: ImageSet, num_reference: int, network: FeatureNetwork, cache: Path
) -> tuple[RealFeatures, dict[str, FeatureSet]]:
    """Features of the reference, of other train images, and of both degraded."""
    assert images.heldout is not None
    num = len(images.heldout)
    reference, others = images.train.pixels[:num_reference], images.train.pixels[num_reference:]
    sets = {
        "reference": reference,
        "heldout": images.heldout.pixels,
        "others": others,
        "others_jpeg": jpeg(others),
        "others_noise": noise(others),
        "others_blur": blur(others),
        "reference_jpeg": jpeg(reference[:num]),
        "reference_flip": flip(reference[:num]),
    }
    found = {name: features_of(name, pixels, network, cache) for name, pixels in sets.items()}
    return RealFeatures(found["reference"], found["heldout"]), found


def rows_of(sets: dict[str, FeatureSet], labels: NDArray[np.int32] | None) -> Iterator[tuple[str, FeatureSet]]:
    """The rows of the table: what was done, and the features of the result.

    Args:
        sets: from `extract_all`.
        labels: classes of `others`, where known.
    """
    others, reference, heldout = sets["others"], sets["reference"], sets["heldout"]
    num = len(others)
    yield "other train images", others
    yield "held-out images", heldout
    yield "JPEG, quality 50", sets["others_jpeg"]
    yield "Gaussian noise, sd 15", sets["others_noise"]
    yield "Gaussian blur, radius 1", sets["others_blur"]
    if labels is not None:
        kept = np.flatnonzero((labels >= 0) & (labels <= np.median(labels)))
        yield "half of the classes missing", others.take(kept)
        yield "as many, of all classes", others.take(slice(len(kept)))
    yield "200 images repeated", others.take(np.arange(num) % 200)
    yield "copies of the reference", reference.take(slice(num))
    yield "the reference as JPEG, quality 50", sets["reference_jpeg"]
    yield "the reference mirrored", sets["reference_flip"]
    for what, part in (("half", 2), ("5 %", 20), ("1 %", 100)):
        yield f"{what} copies, the others not", mixture(reference, others, num // part)
    yield "half JPEG of the reference, the others not", mixture(sets["reference_jpeg"], others, num // 2)
    for name, part in (("half", 2), ("a quarter", 4), ("an eighth", 8)):
        yield f"other train images, {name} as many", others.take(slice(num // part))


def cells_of(rows: Sequence[Row], network: FeatureNetwork) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the columns of COLUMNS that there are."""
    columns = {}
    for title, (key, scale, form) in COLUMNS.items():
        key = key.format(key=network.key, name=network.name)
        if any(key in row for row in rows):
            columns[title] = (key, scale, form)
    cells = [
        [str(row["images"]), *(form.format(scale * float(row[key])) for key, scale, form in columns.values())]
        for row in rows
    ]
    return ["images", *columns], cells


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True, metavar="PATH", help="folders or .zip files of images")
    parser.add_argument("--heldout", nargs="+", required=True, metavar="PATH", help="the same, of held-out images")
    parser.add_argument("--size", type=int, default=32, help="side in pixels (default: %(default)s)")
    parser.add_argument("--num-reference", type=int, default=10_000, help="train images compared with")
    parser.add_argument("--num", type=int, default=10_000, help="images in a row, and held-out images")
    parser.add_argument("--network", default="efficientnet_lite0", help="feature network (default: %(default)s)")
    parser.add_argument("--backbone", type=Path, metavar="FOLDER", help="of the network `backbone`")
    parser.add_argument("--nearest-k", type=int, default=3, help="of precision and its kin (default: %(default)s)")
    parser.add_argument("--num-nearest", type=int, default=10_000, help="images behind them (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path(".scratch/sensitivity"), help="folder of features")
    parser.add_argument(
        "--out", type=Path, default=HERE / "runs.csv", help="and a .md beside it (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.num > args.num_reference:
        raise UserError(
            f"--num {args.num}: expected at most --num-reference {args.num_reference}: rows are copies of it"
        )
    network = build_network(args.network, args.backbone)
    config = MetricsConfig(
        batch_size=BATCH_SIZE, nearest_k=args.nearest_k, num_nearest=args.num_nearest, splits=10, kid_subsets=None,
        kid_subset_size=1000,
    )  # fmt: skip
    images = read_images(args)
    labels = images.train.main_labels
    real, sets = extract_all(images, args.num_reference, network, args.cache)
    floors: dict[int, Floor] = {}
    rows: list[Row] = []
    for name, fake in rows_of(sets, None if labels is None else labels[args.num_reference :]):
        if len(fake) not in floors:
            floors[len(fake)] = compute_floor(real, config, len(fake))
        rows.append({"images": name, **score(fake, real, floors[len(fake)], config)})
        print(rows[-1], flush=True)
        write_csv(args.out, rows)
    settings = (
        f"{network.name}, {args.size} px, {args.num_reference} reference images, one draw; precision, recall, density "
        f"and coverage with k = {args.nearest_k} on at most {args.num_nearest} a side."
    )
    publish(args.out.with_suffix(".md"), settings, *cells_of(rows, network))


if __name__ == "__main__":
    run(main)
