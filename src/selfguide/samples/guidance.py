"""Guidance: one convention, in one function; what it compares with, and at which noise levels it acts."""

import torch
from torch import Tensor, nn

from selfguide.denoiser.schedule import to_eps
from selfguide.samples.levels import Levels
from selfguide.samples.solver import EpsModel


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
    network: nn.Module,
    prediction: str,
    levels: Levels,
    ids: Tensor,
    w: float,
    interval: tuple[float, float] | None = None,
    weak: nn.Module | None = None,
    mask: Tensor | None = None,
) -> EpsModel:
    """Wrap a denoiser so that a solver sees one guided estimate; solvers know nothing of guidance.

    The null and the conditional half share one forward pass. Where only one half is needed, only that one is computed:
    at w = 0 and w = 1, where no image has a condition, and outside of the interval. `guide` gives the same there.

    Args:
        network: has `unrolled(t, c, mask)`: what depends on the schedule or the conditions alone is computed once.
        prediction: what it outputs, "eps" or "v".
        levels: the levels that the sampler visits.
        ids: int64 (B,), -1 = null; or (B, L), sets of ids, -1 = none.
        w: guidance strength.
        interval: noise levels (low, high) at which guidance acts (Kynkaanniemi et al. 2024); elsewhere w = 1.
        weak: autoguidance (Karras et al. 2024): a worse model of the same conditions, in place of the null condition.
        mask: float (B, M, H, W), zeros = null, where the network takes masks.
    """
    t, abar = levels.t.to(ids.device), levels.abar.float().to(ids.device)

    def conditional_model(network: nn.Module, ids: Tensor, mask: Tensor | None) -> EpsModel:
        output = network.unrolled(t, ids, mask)  # type: ignore[operator]
        return lambda x, i: to_eps(prediction, output(x, i).float(), x, abar[i : i + 1])

    conditional = conditional_model(network, ids, mask)
    acts = acts_at(levels, interval)
    if w == 1 or not any(acts) or (weak is None and _all_null(ids, mask)):
        return conditional

    null, no_mask = torch.full_like(ids, -1), None if mask is None else torch.zeros_like(mask)
    if w == 0 or weak is not None:
        other = conditional_model(*(network, null, no_mask) if weak is None else (weak, ids, mask))

        def guided(x: Tensor, i: int) -> Tensor:
            return other(x, i) if w == 0 else guide(other(x, i), conditional(x, i), w)
    else:
        masks = None if mask is None else torch.cat([torch.zeros_like(mask), mask])
        both = conditional_model(network, torch.cat([null, ids]), masks)

        def guided(x: Tensor, i: int) -> Tensor:
            eps_null, eps_cond = both(x.repeat(2, 1, 1, 1), i).chunk(2)
            return guide(eps_null, eps_cond, w)

    return lambda x, i: (guided if acts[i] else conditional)(x, i)


def _all_null(ids: Tensor, mask: Tensor | None) -> bool:
    return bool((ids < 0).all()) and (mask is None or not bool(mask.any()))
