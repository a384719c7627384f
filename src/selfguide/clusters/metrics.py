"""How good a clustering is: by itself, and against true labels, which the clustering never sees."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from selfguide.clusters.kmeans import KMeansResult


def measure(result: KMeansResult, labels: NDArray[np.int32] | None) -> dict[str, float | int]:
    """Metrics of the stage, flat.

    Args:
        result: the clustering.
        labels: (N,) true classes, -1 where unknown; None if none is known.

    Returns:
        inertia, size_min, size_median, size_max, num_empty; with labels also nmi, ami and purity.
    """
    return {
        "inertia": result.inertia,
        "size_min": int(result.sizes.min()),
        "size_median": float(np.median(result.sizes)),
        "size_max": int(result.sizes.max()),
        "num_empty": int((result.sizes == 0).sum()),
        **(agreement(result.ids, labels) if labels is not None and (labels >= 0).any() else {}),
    }


def agreement(ids: NDArray[np.int32], labels: NDArray[np.int32]) -> dict[str, float]:
    """NMI and AMI (arithmetic mean, natural units cancel) and purity, over the images whose label is known.

    Purity is the share of images whose class is the commonest of their cluster; it grows with k, AMI does not.

    Args:
        ids: (N,) clusters.
        labels: (N,) classes, at least one >= 0; -1 is unknown.
    """
    known = labels >= 0
    ids, labels = ids[known], labels[known]
    table = contingency_matrix(labels, ids, sparse=True)
    return {
        "nmi": float(normalized_mutual_info_score(labels, ids)),
        "ami": float(adjusted_mutual_info_score(labels, ids)),
        "purity": float(table.max(axis=0).sum() / len(ids)),
    }
