"""The artifact data/floor: what real images alone decide, so that a new set of samples spends nothing on it.

For the network NET, with FD = `fid` for inception and `fd_NET` for any other, the scores are

    FD_floor, kid_NET_floor    distance of held-out to train images: what perfect samples would get, see num_floor
    is_NET_real                Inception Score of the same held-out images
    precision_NET_real, ...    recall, density and coverage likewise: those of held-out against train images
    nn_distance_NET_real, copied_NET_real
                               memorisation readout of held-out images: see `metrics.memorization`
    num_reference, num_heldout train and held-out images behind the distances
    num_floor                  held-out images behind the above: num_samples, or all when they are fewer. FD falls with
                               the number of images, so only at num_floor = num_samples is the floor that of the
                               samples; below, it is too high.
    num_nearest                images of either side behind precision and its kin

On disk, per network:

    radii.npy              float32 (n,), squared distance of each of the n train images behind precision to its k-th
                           nearest other
    train_nearest.npy      int64 (N,), the nearest other train image of each
    heldout_distances.npy  float32 (H, 5), of each held-out image to its nearest train images; absent without held-out
    heldout_indices.npy    int64 (H, 5), which these are
    meta.json              the scores, the mean kernels, and the settings that they were made with; above them, one
                           that names the networks
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfguide.core.artifact import Array, read_meta, save_array, write_meta
from selfguide.core.errors import UserError
from selfguide.core.target import replacing
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.feature_set import FeatureSet
from selfguide.metrics.frechet import Moments, frechet_between
from selfguide.metrics.inception_score import inception_score
from selfguide.metrics.kernel import kernel_distance, kernel_mean
from selfguide.metrics.manifold import manifold_scores, neighbour_radii
from selfguide.metrics.memorization import heldout_scores
from selfguide.metrics.nearest import nearest_neighbours
from selfguide.metrics.reference_set import RealFeatures, Reference

KIND, STAGE = "floor", "floor"
#: Nearest train images that are kept of every image.
NUM_NEIGHBOURS = 5
_SEED = 2020


@dataclass(frozen=True)
class Neighbours:
    """The nearest train images of a set of images.

    Attributes:
        distances: (M, K) Euclidean, nearest first.
        indices: int64 (M, K), rows of the train images.
    """

    distances: Array
    indices: Array

    @classmethod
    def of(cls, features: Array, train: Array) -> "Neighbours":
        """Of features (M, D) among train features (N, D)."""
        return cls(*nearest_neighbours(features, train, min(NUM_NEIGHBOURS, len(train))))


@dataclass(frozen=True)
class Floor:
    """What real images alone decide in one network; see the module for the arrays and scores.

    Attributes:
        kernel_means: of train and held-out images, for the exact kernel distance; None where it is not asked for.
        settings: what the scores and radii were made with: num_samples, nearest_k, ...
    """

    radii: Array
    train_nearest: Array
    heldout: Neighbours | None
    kernel_means: tuple[float | None, float | None]
    scores: dict[str, float]
    settings: dict[str, Any]

    def check(self, config: MetricsConfig, num_samples: int) -> None:
        """Refuse to score `num_samples` samples beside a floor for another number, or by other settings.

        Raises:
            UserError: they differ.
        """
        wanted = _settings(config, num_samples)
        different = [name for name in wanted if wanted[name] != self.settings[name]]
        if different:
            found = ", ".join(f"{name} {self.settings[name]} instead of {wanted[name]}" for name in different)
            raise UserError(f"data/floor was made with {found}; run `dvc repro {STAGE}`")


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Scores to 6 significant digits: the arithmetic of another machine differs further down."""
    return {key: value if isinstance(value, int) else float(f"{value:.6g}") for key, value in scores.items()}


def subset(features: Array, num: int) -> Array:
    """`num` random rows of features (N, D): samples may be ordered by their condition."""
    rows = np.random.default_rng(_SEED).permutation(len(features))[:num]
    return np.asarray(features[np.sort(rows)])


def num_nearest(real: RealFeatures, config: MetricsConfig, num_samples: int) -> int:
    """Images of either side behind precision and its kin."""
    return min(num_samples, len(real.train), config.num_nearest or num_samples)


def compute_floor(real: RealFeatures, config: MetricsConfig, num_samples: int) -> Floor:
    """Compute what real images alone decide when `num_samples` samples are compared with them.

    Raises:
        UserError: too few images for nearest_k.
    """
    train, heldout, name = real.train, real.heldout, real.train.network
    num = num_nearest(real, config, num_samples)
    near = subset(train.features, num)
    radii = neighbour_radii(near, config.nearest_k)
    nearest = nearest_neighbours(train.features, train.features, 1, exclude_self=True)[1][:, 0]

    def mean(images: FeatureSet | None) -> float | None:
        return None if images is None or config.kid_subsets is not None else kernel_mean(images.features)

    kernel_means = (mean(train), mean(heldout))
    scores: dict[str, float] = {"num_reference": len(train), "num_nearest": num}
    if heldout is None:
        return Floor(radii, nearest, None, kernel_means, scores, _settings(config, num_samples))
    num_floor = min(num_samples, len(heldout))
    same = heldout.features[:num_floor]
    scores |= {
        "num_heldout": len(heldout),
        "num_floor": num_floor,
        f"{train.key}_floor": frechet_between(Moments.of(same), train.moments),
        f"kid_{name}_floor": kernel_distance(
            same, train.features, config.kid_subsets, config.kid_subset_size, (None, kernel_means[0])
        ),
    }
    if train.logits.shape[1] and num_floor >= config.splits:
        scores[f"is_{name}_real"] = inception_score(heldout.logits[:num_floor], config.splits)[0]
    if num_floor > config.nearest_k:
        found = manifold_scores(near, same[:num], config.nearest_k, real_radii=radii)
        scores |= {f"{key}_{name}_real": value for key, value in found.items()}
    neighbours = Neighbours.of(heldout.features, train.features)
    scores |= {f"{key}_{name}_real": value for key, value in heldout_scores(neighbours.distances[:, 0]).items()}
    return Floor(radii, nearest, neighbours, kernel_means, rounded(scores), _settings(config, num_samples))


def build_floors(reference: Reference, config: MetricsConfig, num_samples: int) -> dict[str, Floor]:
    """`compute_floor` in every network of the reference."""
    return {name: compute_floor(real, config, num_samples) for name, real in reference.spaces.items()}


def save_floors(folder: str | Path, floors: dict[str, Floor]) -> None:
    """Write the artifact, whole or not at all."""
    with replacing(folder, KIND) as temporary:
        for network, floor in floors.items():
            (temporary / network).mkdir()
            save_array(temporary / network / "radii.npy", floor.radii)
            save_array(temporary / network / "train_nearest.npy", floor.train_nearest)
            if floor.heldout is not None:
                save_array(temporary / network / "heldout_distances.npy", floor.heldout.distances)
                save_array(temporary / network / "heldout_indices.npy", floor.heldout.indices)
            write_meta(
                temporary / network, KIND, scores=floor.scores, settings=floor.settings, kernel_means=floor.kernel_means
            )
        write_meta(temporary, KIND, networks=list(floors))


def load_floor(folder: str | Path, network: str) -> Floor:
    """Open one network's part of the artifact.

    Raises:
        UserError: missing, truncated or not as meta.json says.
    """
    meta = read_meta(Path(folder) / network, KIND, STAGE)
    heldout = None
    if "num_heldout" in meta["scores"]:
        shape = (meta["scores"]["num_heldout"], None)
        heldout = Neighbours(
            meta.array("heldout_distances.npy", "float32", shape),
            meta.array("heldout_indices.npy", "int64", shape),
        )
    return Floor(
        np.array(meta.array("radii.npy", "float32", (meta["scores"]["num_nearest"],))),
        meta.array("train_nearest.npy", "int64", (meta["scores"]["num_reference"],)),
        heldout,
        (meta["kernel_means"][0], meta["kernel_means"][1]),
        meta["scores"],
        meta["settings"],
    )


def _settings(config: MetricsConfig, num_samples: int) -> dict[str, Any]:
    return {"num_samples": num_samples, **config.model_dump(mode="json", exclude={"batch_size"})}
