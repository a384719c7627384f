"""What the metrics stage says of a run's samples: scores in every network, and in the first which conditions fail.

To the keys of `metrics.evaluate` and `metrics.floor` it adds

    agreement_NET, agreement_NET_real
                        share of samples whose nearest train image has the id that was asked for, and the same of the
                        train images themselves; absent where nothing was asked for
    num_seeds           repeats of the draw behind the scores
    circular_NET        1 where NET is the network whose features were clustered: samples are then judged by what they
                        were trained to obey, and only another network's scores are evidence
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfguide.condition.artifact import Condition
from selfguide.core.errors import UserError
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.evaluate import score_seeds
from selfguide.metrics.extract import extract
from selfguide.metrics.floor import Neighbours, load_floor
from selfguide.metrics.memorization import copying_warning
from selfguide.metrics.networks.registry import build_network
from selfguide.metrics.per_cluster import PerCluster, agreement, per_cluster
from selfguide.metrics.reference_set import Reference
from selfguide.samples.artifact import Samples

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """The result of `report`.

    Attributes:
        scores: flat keys that name their space => finite values.
        per_cluster: fidelity by condition id, in the reference's first network.
        neighbours: the samples' nearest train images in that network.
        heldout: the held-out images' nearest train images in it; None where there are none.
    """

    scores: dict[str, float]
    per_cluster: PerCluster
    neighbours: Neighbours
    heldout: Neighbours | None


def report(
    samples: Samples,
    condition: Condition,
    reference_folder: str | Path,
    floor_folder: str | Path,
    config: MetricsConfig,
) -> Report | None:
    """Score samples; each goes once through each network.

    Args:
        samples: images, what each was asked for, and the number of seeds.
        condition: of the train images; its first rows are those of the reference.
        reference_folder: of the `Reference`.
        floor_folder: of the floors.
        config: the `metrics` section.

    Returns:
        The report on rank 0; None on other ranks.

    Raises:
        UserError: images of another size than the reference's, fewer than 2, or not uint8; a floor for other settings.
    """
    pixels, ids, num_seeds = samples.images, samples.signal.ids, samples.num_seeds
    known = condition.signal.ids
    reference = Reference.load(reference_folder)
    num_train = max(len(real.train) for real in reference.spaces.values())
    if len(known) < num_train:
        raise UserError(
            f"data/condition: {len(known)} ids, data/reference has {num_train} train images: they are those of"
            " other images; run `dvc repro condition reference`"
        )
    networks = {name: build_network(name, reference.backbone) for name in reference.spaces}
    fakes = {
        name: extract(network, pixels, config.batch_size, {"use": "samples"}) for name, network in networks.items()
    }
    scores: dict[str, float] = {"num_seeds": num_seeds}
    first: Report | None = None
    for name, fake in fakes.items():  # after the last pass: no rank waits for scores
        if fake is None:
            return None
        real, floor = reference.spaces[name], load_floor(floor_folder, name)
        train = real.train.features
        neighbours = Neighbours.of(fake.features, train)
        nearest, real_ids = neighbours.indices[:, 0], np.asarray(known[: len(train)])
        scores |= score_seeds(fake, num_seeds, real, floor, config, neighbours)
        if (ids >= 0).any():
            scores[f"agreement_{name}"] = round(agreement(ids, real_ids[nearest]), 6)
            scores[f"agreement_{name}_real"] = round(agreement(real_ids, real_ids[floor.train_nearest]), 6)
        if floor.heldout is not None:
            _warn(copying_warning(neighbours.distances[:, 0], floor.heldout.distances[:, 0]), name)
        if condition.backbone is not None and {fake.weights, networks[name].variant} & set(condition.backbone.split()):
            scores[f"circular_{name}"] = 1
            _warn("the same network made the clusters: its scores are no independent evidence", name)
        if first is None:
            table = per_cluster(fake.features, ids, train, real_ids, nearest, floor.train_nearest)
            first = Report(scores, table, neighbours, floor.heldout)
    return first


def _warn(message: str | None, network: str) -> None:
    if message is not None:
        log.warning("metrics: %s: %s", network, message)
