"""Scores of samples against the reference: flat keys that name their space.

For the network NET, with FD = `fid` for inception and `fd_NET` for any other:

    FD, FD_heldout             Frechet distance to the train and to the held-out images
    kid_NET, kid_NET_heldout   kernel distance
    is_NET, is_NET_sd          Inception Score, and its standard deviation over splits
    precision_NET, recall_NET, density_NET, coverage_NET
                               against train images, num_nearest of either
    nn_distance_NET, copying_auc_NET, copied_NET, copying_flagged_NET
                               memorisation: see `metrics.memorization`
    num_samples                images behind the scores of one seed

Beside them stand the same figures of real images: the `_floor` and `_real` keys of `metrics.floor`. With several seeds,
each score is the mean over them, and `<key>_seed_sd` their standard deviation (divided by num_seeds - 1).
Without held-out images the keys about them are absent, as is IS for a network without a classifier.
Which of them a snapshot can be chosen by, and whether less or more is better, says `metrics.keys`.
"""

from pathlib import Path

import numpy as np

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.extract import extract
from selfguide.metrics.feature_set import FeatureSet
from selfguide.metrics.floor import Floor, Neighbours, num_nearest, rounded, subset
from selfguide.metrics.frechet import frechet_between
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance, kernel_mean
from selfguide.metrics.manifold import manifold_scores
from selfguide.metrics.memorization import memorization_scores
from selfguide.metrics.networks.registry import build_network
from selfguide.metrics.reference_set import RealFeatures, Reference


def evaluate(pixels: Array, reference: str | Path, config: MetricsConfig) -> dict[str, float] | None:
    """Score images in every network of the reference, without their floors.

    Args:
        pixels: uint8 (M, S, S, 3); each goes once through each network.
        reference: folder of the `Reference`.
        config: the `metrics` section.

    Returns:
        Keys as above => finite values, on rank 0; None on other ranks.

    Raises:
        UserError: images of another size than the reference's, fewer than 2, or not uint8.
    """
    real = Reference.load(reference)
    scores: dict[str, float] = {}
    for network in real.spaces:
        fake = extract(build_network(network, real.backbone), pixels, config.batch_size, {"use": "samples"})
        if fake is not None:
            scores |= score(fake, real.spaces[network], None, config)
    return scores or None


def score(
    fake: FeatureSet,
    real: RealFeatures,
    floor: Floor | None,
    config: MetricsConfig,
    neighbours: Neighbours | None = None,
) -> dict[str, float]:
    """Score samples in one network.

    Args:
        fake: features of the samples.
        real: those of real images in the same network.
        floor: what real images alone decide, for as many samples; None leaves its keys and memorisation out.
        config: the `metrics` section.
        neighbours: `Neighbours.of` the samples where known already.

    Returns:
        Keys as above => finite values of 6 significant digits.

    Raises:
        UserError: other network, weights, preprocessing or image size than the reference's; too few images; a floor
            for another number of samples or other settings.
    """
    train, heldout, name = real.train, real.heldout, fake.network
    _check_same_space(fake, train)
    if floor is not None:
        floor.check(config, len(fake))

    mean = kernel_mean(fake.features) if config.kid_subsets is None else None
    train_mean, heldout_mean = (None, None) if floor is None else floor.kernel_means

    def kernel(other: FeatureSet, other_mean: float | None) -> float:
        subsets = (config.kid_subsets, config.kid_subset_size)
        return kernel_distance(fake.features, other.features, *subsets, (mean, other_mean))

    found: dict[str, float] = {
        fake.key: frechet_between(fake.moments, train.moments),
        f"kid_{name}": kernel(train, train_mean),
    }
    if heldout is not None:
        found[f"{fake.key}_heldout"] = frechet_between(fake.moments, heldout.moments)
        found[f"kid_{name}_heldout"] = kernel(heldout, heldout_mean)
    if fake.logits.shape[1]:
        found[f"is_{name}"], found[f"is_{name}_sd"] = inception_score(fake.logits, config.splits)
    num = num_nearest(real, config, len(fake))
    near, radii = subset(train.features, num), None if floor is None else floor.radii
    manifold = manifold_scores(near, subset(fake.features, num), config.nearest_k, real_radii=radii)
    found |= {f"{key}_{name}": value for key, value in manifold.items()} | {"num_samples": len(fake)}
    if floor is not None:
        found |= floor.scores
        if floor.heldout is not None:
            nearest = neighbours or Neighbours.of(fake.features, train.features)
            memorization = memorization_scores(nearest.distances[:, 0], floor.heldout.distances[:, 0])
            found |= {f"{key}_{name}": value for key, value in memorization.items()}
    return rounded(found)


def score_seeds(
    fake: FeatureSet, num_seeds: int, real: RealFeatures, floor: Floor, config: MetricsConfig, neighbours: Neighbours
) -> dict[str, float]:
    """`score` of each seed's samples, as mean and standard deviation over the seeds.

    Args:
        fake: features of num_seeds equal parts, one after the other.
        num_seeds: 1 gives `score` itself.
        real, floor, config: as for `score`.
        neighbours: of all the samples.
    """
    num = len(fake) // num_seeds
    parts = [slice(start, start + num) for start in range(0, len(fake), num)]
    seeds = [
        score(
            fake if num_seeds == 1 else fake.take(part),
            real,
            floor,
            config,
            Neighbours(neighbours.distances[part], neighbours.indices[part]),
        )
        for part in parts
    ]
    if num_seeds == 1:
        return seeds[0]
    found = {}
    for key, value in seeds[0].items():
        if key in floor.scores or key == "num_samples":
            found[key] = value
        else:
            values = [scores[key] for scores in seeds]
            found |= {key: float(np.mean(values)), f"{key}_seed_sd": float(np.std(values, ddof=1))}
    return rounded(found)


def _check_same_space(fake: FeatureSet, train: FeatureSet) -> None:
    for what in ("network", "weights", "preprocessing", "image_size"):
        ours, theirs = getattr(fake, what), getattr(train, what)
        if ours != theirs:
            raise UserError(
                f"{fake.network}: {what} differ: samples {ours}, reference {theirs}; run `dvc repro reference samples`"
            )
