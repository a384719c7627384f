"""Scores of samples against the reference: flat keys that name their space.

For the network NET, with FD = `fid` for inception and `fd_NET` for any other:

    FD, FD_heldout             Frechet distance to the train and to the held-out images
    FD_floor                   that of held-out to train images: what perfect samples would get, see num_floor
    kid_NET, kid_NET_heldout   kernel distance
    is_NET, is_NET_sd          Inception Score, and its standard deviation over splits
    is_NET_real                that of the num_floor held-out images
    precision_NET, recall_NET, density_NET, coverage_NET
                               against train images, num_nearest of either
    precision_NET_real, ...    those of held-out images against the same train images
    num_samples, num_reference, num_heldout
                               images behind the distances
    num_floor                  held-out images behind FD_floor and is_NET_real: num_samples, or all held-out images
                               when they are fewer. FD falls with the number of images, so only at num_floor =
                               num_samples is the floor that of the samples; below, it is too high.
    num_nearest                images of either side behind precision and its kin

Without held-out images the keys about them are absent; those with `_real` need enough of them for nearest_k and splits.
"""

from pathlib import Path

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.extract import extract
from selfguide.metrics.feature_set import FeatureSet
from selfguide.metrics.frechet import Moments, frechet_between
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance
from selfguide.metrics.manifold import manifold_scores, neighbour_radii
from selfguide.metrics.networks.registry import NETWORKS
from selfguide.metrics.reference_set import Reference

_SEED = 2020


def evaluate(pixels: Array, reference: str | Path, config: MetricsConfig) -> dict[str, float] | None:
    """Score images in every network of the reference; each image goes once through each.

    Args:
        pixels: uint8 (M, S, S, 3).
        reference: folder of the `Reference`.
        config: the `metrics` section.

    Returns:
        Keys as above => finite values of 6 significant digits, on rank 0; None on other ranks.

    Raises:
        UserError: images of another size than the reference's, fewer than 2, or not uint8.
    """
    real = Reference.load(reference)
    scores: dict[str, float] = {}
    for network in real.spaces:
        fake = extract(network, pixels, config.batch_size, {"use": "samples"})
        if fake is not None:
            scores |= score(fake, real, config)
    return scores or None


def score(fake: FeatureSet, reference: Reference, config: MetricsConfig) -> dict[str, float]:
    """Score samples in one network.

    Args:
        fake: features of the samples.
        reference: holds the real ones in the same network.
        config: the `metrics` section.

    Returns:
        Keys as above => finite values of 6 significant digits.

    Raises:
        UserError: other network, weights, preprocessing or image size than the reference's; too few images.
    """
    _check_same_space(fake, reference)
    real = reference.spaces[fake.network]
    train, heldout = real.train, real.heldout
    name, distance = fake.network, NETWORKS[fake.network].key

    def kernel(other: FeatureSet) -> float:
        return kernel_distance(fake.features, other.features, config.kid_subsets, config.kid_subset_size)

    num = min(len(fake), len(train), config.num_nearest or len(fake))
    near = _subset(train.features, num)
    radii = neighbour_radii(near, config.nearest_k)
    found = {distance: frechet_between(fake.moments, train.moments), f"kid_{name}": kernel(train)}
    found[f"is_{name}"], found[f"is_{name}_sd"] = inception_score(fake.logits, config.splits)
    for key, value in manifold_scores(near, _subset(fake.features, num), config.nearest_k, real_radii=radii).items():
        found[f"{key}_{name}"] = value
    found |= {"num_samples": len(fake), "num_reference": len(train), "num_nearest": num}
    if heldout is not None:
        num_floor = min(len(fake), len(heldout))
        found[f"{distance}_heldout"] = frechet_between(fake.moments, heldout.moments)
        found[f"{distance}_floor"] = frechet_between(Moments.of(heldout.features[:num_floor]), train.moments)
        found[f"kid_{name}_heldout"] = kernel(heldout)
        found |= {"num_heldout": len(heldout), "num_floor": num_floor}
        if num_floor >= config.splits:
            found[f"is_{name}_real"] = inception_score(heldout.logits[:num_floor], config.splits)[0]
        if num_floor > config.nearest_k:
            other = heldout.features[: min(num, num_floor)]
            for key, value in manifold_scores(near, other, config.nearest_k, real_radii=radii).items():
                found[f"{key}_{name}_real"] = value
    return {key: value if isinstance(value, int) else float(f"{value:.6g}") for key, value in found.items()}


def _subset(features: Array, num: int) -> Array:
    """`num` random rows: samples may be ordered by their condition."""
    rows = np.random.default_rng(_SEED).permutation(len(features))[:num]
    return np.asarray(features[np.sort(rows)])


def _check_same_space(fake: FeatureSet, reference: Reference) -> None:
    if fake.network not in reference.spaces:
        have = ", ".join(reference.spaces)
        raise UserError(f"data/reference has {have}, not {fake.network}: add it to reference.networks")
    train = reference.spaces[fake.network].train
    for what in ("weights", "preprocessing", "image_size"):
        ours, theirs = getattr(fake, what), getattr(train, what)
        if ours != theirs:
            raise UserError(
                f"{fake.network}: {what} differ: samples {ours}, reference {theirs}; run `dvc repro reference samples`"
            )
