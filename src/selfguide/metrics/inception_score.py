"""Inception Score (Salimans et al. 2016) from logits, in float64, by torch-fidelity's convention."""

import numpy as np
from scipy.special import log_softmax, logsumexp

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.metrics.checks import check_features

_SEED = 2020


def inception_score(logits: Array, splits: int = 10) -> tuple[float, float]:
    """exp(mean KL(p(y|x) || p(y))) in each split of the shuffled images.

    Args:
        logits: floating point (N, C).
        splits: parts of floor or ceil(N / splits) images; the order is drawn with seed 2020.

    Returns:
        Mean and population standard deviation over the splits; the score lies in 1..C.

    Raises:
        UserError: fewer images than splits or than 2, or NaN.
    """
    check_features(logits, "logits")
    if not 1 <= splits <= len(logits):
        raise UserError(f"metrics.splits: expected 1 to {len(logits)}, the number of images, found {splits}")
    order = np.random.RandomState(_SEED).permutation(len(logits))  # noqa: NPY002 (torch-fidelity's draw)
    scores = []
    for part in range(splits):
        rows = order[part * len(order) // splits : (part + 1) * len(order) // splits]
        log_p = log_softmax(np.asarray(logits[rows], dtype=np.float64), axis=1)
        # The log of the mean as a logsumexp: finite also for a class that no image of the split has.
        log_marginal = logsumexp(log_p, axis=0) - np.log(len(rows))
        scores.append(np.exp((np.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
