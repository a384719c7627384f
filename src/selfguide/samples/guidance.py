"""Classifier-free guidance: one convention, in one function."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from selfguide.denoiser.schedule import to_eps

#: Estimates the noise in x_t: (x_t float (B, 3, H, W), t int) => eps float (B, 3, H, W).
EpsModel = Callable[[Tensor, int], Tensor]


def guide(eps_null: Tensor, eps_cond: Tensor, w: float) -> Tensor:
    """eps = (1 - w) eps(x_t, null) + w eps(x_t, c): the paper's Eq. 4.

    Args:
        eps_null: estimate under the null condition.
        eps_cond: estimate under the condition, same shape.
        w: guidance strength; 0 = unconditional, 1 = conditional, above 1 = guided.
    """
    return (1 - w) * eps_null + w * eps_cond


def guided_model(network: nn.Module, prediction: str, abar: Tensor, ids: Tensor, w: float) -> EpsModel:
    """Wrap a denoiser so that a sampler sees one guided estimate; samplers know nothing of guidance.

    The null and the conditional half share one forward pass. At w = 0 and w = 1, and where no image has a condition,
    only one half is needed and only that one is computed; `guide` gives the same there.

    Args:
        network: `forward(x, t, c)`.
        prediction: what it outputs, "eps" or "v".
        abar: float (T,), the noise schedule, on the images' device.
        ids: int64 (B,), -1 = null.
        w: guidance strength.
    """
    null = torch.full_like(ids, -1)
    halves = [null] if w == 0 or bool((ids < 0).all()) else [ids] if w == 1 else [null, ids]
    conditions = torch.cat(halves)

    def eps(xt: Tensor, t: int) -> Tensor:
        x = xt.repeat(len(halves), 1, 1, 1)
        steps = torch.full((len(x),), t, device=x.device)
        estimate = to_eps(prediction, network(x, steps, conditions).float(), x, abar[t].expand(len(x)))
        if len(halves) == 1:
            return estimate
        eps_null, eps_cond = estimate.chunk(2)
        return guide(eps_null, eps_cond, w)

    return eps
