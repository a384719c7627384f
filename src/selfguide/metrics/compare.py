"""Scores of any two image sets: no pipeline, no artifacts."""

from collections.abc import Sequence
from pathlib import Path

from selfguide.core.errors import UserError
from selfguide.images.artifact import Pixels
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.evaluate import score
from selfguide.metrics.extract import extract
from selfguide.metrics.feature_set import FeatureSet
from selfguide.metrics.floor import Neighbours, compute_floor
from selfguide.metrics.image_files import load_images
from selfguide.metrics.networks.network import FeatureNetwork
from selfguide.metrics.networks.registry import build_network
from selfguide.metrics.pairs import save_pairs
from selfguide.metrics.reference_set import RealFeatures


def load_sets(real: str | Path, fake: str | Path, heldout: str | Path | None) -> dict[str, Pixels]:
    """Read the sets that are to be compared.

    Args:
        real: a folder, .zip, .npy or .npz of images, see `load_images`.
        fake: the same, of the images to be scored.
        heldout: the same, of real images that `fake` was not made from; None: there are none.

    Returns:
        option ("--real", ...) => uint8 (N, H, W, 3), of one H and W.

    Raises:
        UserError: as `load_images`, or their sizes differ.
    """
    paths = {"--real": real, "--fake": fake} | ({} if heldout is None else {"--heldout": heldout})
    sets = {option: load_images(path, option) for option, path in paths.items()}
    if len({pixels.shape[1:] for pixels in sets.values()}) > 1:
        found = ", ".join(f"{option} {paths[option]}: {p.shape[1]} x {p.shape[2]}" for option, p in sets.items())
        raise UserError(f"expected image sets of one size, found {found}; resize them all to one size first")
    return sets


def compare(
    real: str | Path,
    fake: str | Path,
    heldout: str | Path | None,
    networks: Sequence[str],
    backbone: str | Path | None,
    config: MetricsConfig,
    pairs: str | Path | None = None,
) -> dict[str, float] | None:
    """Score one image set against another.

    Args:
        real: the reference, see `load_sets`.
        fake: the images that are scored; may be the same set.
        heldout: other real images, for the floor and the memorisation readout; None leaves their keys out.
        networks: names in `networks.registry`, the spaces to score in.
        backbone: folder of the backbone behind the network `backbone`, where that is asked for.
        config: the `metrics` section.
        pairs: PNG to draw the closest pairs into, in the first network; None: no picture.

    Returns:
        the keys of `evaluate` and `floor` => values, on rank 0; None on other ranks.

    Raises:
        UserError: as `load_sets` and `build_network`, or too few images for a setting.
    """
    built = [build_network(name, backbone) for name in networks]  # a wrong name shows before the images are read
    sets = load_sets(real, fake, heldout)
    config.check_num_samples(min(len(sets["--real"]), len(sets["--fake"])), "the smaller of --real and --fake")
    spaces = [_extract_all(network, sets, config.batch_size) for network in built]
    scores: dict[str, float] = {}
    for number, found in enumerate(spaces):  # after the last pass: no rank waits for scores
        if found is None:
            return None
        features, samples = RealFeatures(found["--real"], found.get("--heldout")), found["--fake"]
        floor = compute_floor(features, config, len(samples))
        neighbours = Neighbours.of(samples.features, features.train.features)
        scores |= score(samples, features, floor, config, neighbours)
        if pairs is not None and number == 0:
            near = floor.heldout
            beside = None if near is None else (sets["--heldout"], near.distances, near.indices)
            save_pairs(pairs, sets["--fake"], sets["--real"], neighbours.distances, neighbours.indices, beside)
    return scores


def _extract_all(network: FeatureNetwork, sets: dict[str, Pixels], batch_size: int) -> dict[str, FeatureSet] | None:
    found = {}
    for option, pixels in sets.items():
        try:
            features = extract(network, pixels, batch_size, {"use": f"compare {option}"})
        except UserError as error:
            raise UserError(f"{option}: {error}") from None
        if features is not None:
            found[option] = features
    return found or None
