"""Which scores a snapshot can be chosen by, and whether their smallest or their largest value is the best.

They are those that `metrics.evaluate` gives for samples and a reference alone. Memorisation is not among them: a model
that draws noise copies nothing. Nor are spreads and numbers of images.
"""

from collections.abc import Callable, Iterable
from typing import Any, get_args

from selfguide.metrics.config import NetworkName

#: min or max: which value of a score is the best.
Best = Callable[..., Any]

#: First word of a key => which value is the best.
_BEST: dict[str, Best] = {
    "fd": min,
    "kid": min,
    "is": max,
    "precision": max,
    "recall": max,
    "density": max,
    "coverage": max,
}
#: Networks with a classifier, without which there is no Inception Score.
CLASSIFIERS: tuple[NetworkName, ...] = ("inception", "efficientnet_lite0")


def criteria(networks: Iterable[NetworkName], heldout: bool) -> dict[str, Best]:
    """Every key to choose by, and which of its values is the best.

    Args:
        networks: of the reference.
        heldout: whether there are held-out images.
    """
    found = {}
    for network in networks:
        for score, best in _BEST.items():
            key = "fid" if (score, network) == ("fd", "inception") else f"{score}_{network}"
            if score != "is" or network in CLASSIFIERS:
                found[key] = best
            if heldout and score in ("fd", "kid"):
                found[f"{key}_heldout"] = best
    return found


#: Those of all networks.
CRITERIA = criteria(get_args(NetworkName), heldout=True)
