"""Guidance: one convention, in one function; what it compares with, and at which noise levels it acts."""

from torch import Tensor

from selfguide.denoiser.network import Network
from selfguide.denoiser.schedule import to_eps
from selfguide.samples.levels import Levels
from selfguide.samples.solver import EpsModel
from selfguide.signal.condition import BatchCondition


def guide(eps_null: Tensor, eps_cond: Tensor, w: float) -> Tensor:
    """eps = (1 - w) eps(x_t, null) + w eps(x_t, c): the paper's Eq. 4.

    Args:
        eps_null: estimate under the null condition, or a weak model's (Karras et al. 2024, Eq. 3).
        eps_cond: estimate under the condition, same shape.
        w: guidance strength; 0 = the first, 1 = the second, above 1 = guided.
    """
    return (1 - w) * eps_null + w * eps_cond


def acts_at(levels: Levels, interval: tuple[float, float] | None) -> list[bool]:
    """At which of the S levels guidance acts: low < sigma / alpha <= high; everywhere where the interval is None."""
    if interval is None:
        return [True] * len(levels)
    noise = levels.noise_level[:-1]
    return ((interval[0] < noise) & (noise <= interval[1])).tolist()


def guided_model(
    network: Network,
    prediction: str,
    levels: Levels,
    c: BatchCondition,
    w: float,
    interval: tuple[float, float] | None = None,
    weak: Network | None = None,
) -> EpsModel:
    """Wrap a denoiser so that a solver sees one guided estimate; solvers know nothing of guidance.

    The null and the conditional half share one forward pass. Where only one half is needed, only that one is computed:
    at w = 0 and w = 1, where no image has a condition, and outside of the interval. `guide` gives the same there.

    Args:
        network: what depends on the schedule or the conditions alone is computed once.
        prediction: what it outputs, "eps" or "v".
        levels: the levels that the sampler visits.
        c: conditions of B images.
        w: guidance strength.
        interval: noise levels (low, high) at which guidance acts (Kynkaanniemi et al. 2024); elsewhere w = 1.
        weak: autoguidance (Karras et al. 2024): a worse model of the same conditions, in place of the null condition.
    """
    t, abar = levels.t.to(c.ids.device), levels.abar.float().to(c.ids.device)

    def model_of(network: Network, c: BatchCondition) -> EpsModel:
        output = network.unrolled(t, c)
        return lambda x, i: to_eps(prediction, output(x, i).float(), x, abar[i : i + 1])

    conditional = model_of(network, c)
    acts = acts_at(levels, interval)
    if w == 1 or not any(acts) or (weak is None and c.is_null()):
        return conditional

    if w == 0 or weak is not None:
        other = model_of(network, c.null()) if weak is None else model_of(weak, c)

        def guided(x: Tensor, i: int) -> Tensor:
            return other(x, i) if w == 0 else guide(other(x, i), conditional(x, i), w)
    else:
        both = model_of(network, BatchCondition.concatenate([c.null(), c]))

        def guided(x: Tensor, i: int) -> Tensor:
            eps_null, eps_cond = both(x.repeat(2, 1, 1, 1), i).chunk(2)
            return guide(eps_null, eps_cond, w)

    return lambda x, i: (guided if acts[i] else conditional)(x, i)
