"""The loss under masks, and what a network learns from them."""

import numpy as np
import pytest
import torch

from selfguide.core.pixels import to_float
from selfguide.denoiser.batches import Batches
from selfguide.denoiser.module import DenoiserModule
from selfguide.denoiser.registry import DENOISERS, build
from selfguide.signal.condition import BatchCondition
from selfguide.signal.render import box_masks, render
from tests.conftest import encoded, signal, tiny_denoiser

SIDE, WIDTH = 16, 6
#: Every picture is a white square on black, one for each place; its box says where.
CORNERS = np.stack(np.meshgrid(range(0, SIDE - WIDTH + 1, 2), range(0, SIDE - WIDTH + 1, 2)), -1).reshape(-1, 1, 2)
BOXES = np.concatenate([CORNERS, CORNERS + WIDTH], 2).astype(np.int16)
PIXELS = (255 * box_masks(torch.from_numpy(BOXES), SIDE)).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).byte().numpy()
IDS = np.zeros(len(BOXES), np.int32)


def _module(variant: str = "concat", boxes: bool = True, ids: np.ndarray = IDS, **changes: object) -> DenoiserModule:
    torch.manual_seed(0)
    settings = {"variant": variant, "base_channels": 32, "batch_size": 16, "num_timesteps": 100, "schedule": "cosine",
                **changes}  # fmt: skip
    config = tiny_denoiser(prediction="v", condition_drop_prob=0.1, **settings)
    network = build(config.network, side=SIDE, channels=3, num_ids=3, map_channels=int(boxes))
    guided = signal(ids, 3, BOXES if boxes else None, SIDE)
    return DenoiserModule(network, config, encoded(PIXELS), guided, 0)


def _batches(module: DenoiserModule) -> Batches:
    return Batches(module.images, module.signal, module.config, 0, torch.device("cpu"))


def _trained(module: DenoiserModule, steps: int) -> DenoiserModule:
    batches, optimizer = _batches(module), torch.optim.AdamW(module.network.parameters(), lr=5e-3)
    for step in range(steps):
        optimizer.zero_grad()
        module.loss(batches(step)).backward()
        optimizer.step()
    return module


@torch.no_grad()
def _errors(module: DenoiserModule, t: int) -> tuple[float, float]:
    """Mean squared error of x0 at a noise level: the network's, and the least that is possible without a mask."""
    x0, abar = to_float(torch.from_numpy(PIXELS)), module.abar[t]
    xt = abar.sqrt() * x0 + (1 - abar).sqrt() * torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    null = torch.full((len(x0),), -1)
    c = BatchCondition(null, render(module.signal, SIDE).map)
    v = module.network.eval()(xt, torch.full_like(null, t), c)
    found = abar.sqrt() * xt - (1 - abar).sqrt() * v
    # All pictures are known and equally likely: the best estimate is their mean under the posterior.
    distance = (xt[:, None] - abar.sqrt() * x0).square().flatten(2).sum(2) / (2 * (1 - abar))
    best = torch.einsum("ij,jchw->ichw", (-distance).softmax(1), x0)
    return float((found - x0).square().mean()), float((best - x0).square().mean())


@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_boxes_teach_what_no_estimate_without_them_can_know(variant):
    network, bound = _errors(_trained(_module(variant), 50), t=95)
    assert bound > 0.3, "the noise hides nothing"
    assert network < 0.4 * bound


def test_without_boxes_the_bound_holds():
    network, bound = _errors(_trained(_module(boxes=False), 50), t=95)
    assert network > bound


@pytest.mark.parametrize("changes", [{"gradient_accumulation": 3}, {"gradient_accumulation": 2, "threads": 2}])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_parts_take_their_own_masks_and_sets(variant, changes, monkeypatch):
    sets = np.random.default_rng(0).integers(-1, 3, (len(BOXES), 2)).astype(np.int32)
    threads = changes.get("threads", 1)
    changes = {key: value for key, value in changes.items() if key != "threads"}
    modules = [_module(variant, ids=sets), _module(variant, ids=sets, **changes)]
    for module in modules:
        generator = torch.Generator().manual_seed(0)
        for parameter in module.network.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    batch = _batches(modules[0])(3)
    losses = []
    for module, parts in zip(modules, (1, threads), strict=True):
        monkeypatch.setattr("selfguide.denoiser.module.num_parts", lambda *_, parts=parts: parts)
        losses.append(module.loss(batch))
        losses[-1].backward()
    torch.testing.assert_close(losses[0], losses[1])
    for a, b in zip(*(module.network.parameters() for module in modules), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)
