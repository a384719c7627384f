"""The fast path (bf16, fused norms, channels last, parts in threads, unrolled embeddings) against a plain one.

The plain network is written here with torch's own operators in float32, one forward for each half of guidance, an
optimiser and an average in loops.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfguide.core.pixels import to_uint8
from selfguide.denoiser.batches import Batches
from selfguide.denoiser.blocks import Attention, ResidualBlock, Stage, sinusoid
from selfguide.denoiser.concat import ConcatUNet
from selfguide.denoiser.config import read_network
from selfguide.denoiser.cross_attention import CrossAttentionUNet
from selfguide.denoiser.ema import Ema
from selfguide.denoiser.module import DenoiserModule
from selfguide.denoiser.registry import DENOISERS, build
from selfguide.denoiser.schedule import alpha_bar
from selfguide.images.scenes import render
from selfguide.samples.guidance import guided_model
from selfguide.samples.levels import Levels
from selfguide.samples.noise import ImageNoise
from selfguide.samples.registry import SAMPLERS
from selfguide.samples.solver import solve
from selfguide.signal.condition import BatchCondition
from tests.conftest import encoded, signal, tiny_denoiser

STEPS, K = 80, 5
CONFIG = tiny_denoiser(base_channels=32, channel_multipliers=[1, 2], batch_size=8, max_steps=STEPS, warmup_steps=5,
                       learning_rate=2e-3, num_timesteps=1000)  # fmt: skip


def _build(variant: str = "concat", map_channels: int = 0) -> ConcatUNet:
    config = read_network({**CONFIG.network.model_dump(), "variant": variant}, "test")
    return build(config, side=16, channels=3, num_ids=K, map_channels=map_channels)


def _block(block: ResidualBlock, x: Tensor, film: Tensor) -> Tensor:
    scale, shift = film[:, :, None, None].chunk(2, dim=1)
    h = block.conv1(block._resize(F.silu(block.norm1(x))))
    h = block.conv2(F.silu(block.norm2(h) * (1 + scale) + shift))
    return block.skip(block._resize(x)) + h


def _attention(layer: Attention, x: Tensor, context: Tensor) -> Tensor:
    b, c, h, w = x.shape
    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    q, k, v = layer.qkv(tokens).chunk(3, dim=2)
    further_k, further_v = context.chunk(2, dim=2)
    k, v = torch.cat([k, further_k], 1), torch.cat([v, further_v], 1)
    q, k, v = (part.unflatten(2, (layer.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return x + layer.out(mixed).transpose(1, 2).view(b, c, h, w)


def _stage(stage: Stage, x: Tensor, film: Tensor, contexts: Iterator[Tensor]) -> Tensor:
    x = _block(stage.block, x, film)
    return x if stage.attention is None else _attention(stage.attention, x, next(contexts))


def _context(network: ConcatUNet, t: Tensor, c: Tensor) -> Tensor:
    if not isinstance(network, CrossAttentionUNet):
        return torch.empty(len(t), 0, sum(network.context_widths))  # no tokens
    multi_hot = torch.stack([torch.eye(K + 1)[each][:K] for each in c])  # -1 is the last row, without its one
    tokens = multi_hot @ network.condition_tokens.rows + network.condition_tokens.bias
    time = network.time_tokens(sinusoid(t, network.base_channels))
    tokens = torch.cat([time, tokens.unflatten(1, (8, 32))], 1)
    return network.context(network.token_norm(tokens))


def plain(network: ConcatUNet, x: Tensor, t: Tensor, c: BatchCondition) -> Tensor:
    """The network's forward by torch's own operators."""
    time, guidance = network.time(sinusoid(t, network.base_channels)), network.guidance(c.ids)
    films = iter(network.film(F.silu(torch.cat([time, guidance], 1))).split(network.film_widths, dim=1))
    contexts = iter(_context(network, t, c.ids).split(network.context_widths, dim=2))
    h = network.stem(F.pixel_unshuffle(x if c.map is None else torch.cat([x, c.map], 1), network.patch_size))
    skips = [h]
    for stage in network.encoder:
        h = _stage(stage, h, next(films), contexts)
        skips.append(h)
    for stage in network.middle:
        h = _stage(stage, h, next(films), contexts)
    for stage in network.decoder:
        if stage.block.resample == "none":
            h = torch.cat([h, skips.pop()], dim=1)
        h = _stage(stage, h, next(films), contexts)
    return F.pixel_shuffle(network.head(F.silu(network.norm(h))), network.patch_size)


@pytest.fixture(scope="module")
def trained() -> dict[str, tuple[list[float], nn.Module]]:
    """Losses and averaged network of both paths, from the same weights on the same batches."""
    split = render(0, 200, 16, seed=0)
    ids = split.labels.astype(np.int32) % K
    images, guided = encoded(split.pixels), signal(ids, K)
    batches = Batches(images, guided, CONFIG, 0, torch.device("cpu"))
    abar = alpha_bar(CONFIG.schedule, 1000).float()
    found = {}
    threads = torch.get_num_threads()
    for path in ("plain", "fast"):
        torch.manual_seed(0)
        network = _build()
        module = DenoiserModule(network, CONFIG, images, guided, 0)
        losses = []
        if path == "fast":
            torch.set_num_threads(2)
            optimizer, ema = module.make_optimizer(), Ema(network, CONFIG.ema_decay)
        else:
            optimizer = torch.optim.AdamW(network.parameters(), lr=CONFIG.learning_rate, foreach=False,
                                          weight_decay=CONFIG.weight_decay)  # fmt: skip
            average = [p.detach().clone() for p in network.parameters()]
        for step in range(STEPS):
            batch = batches(step)
            optimizer.zero_grad()
            if path == "fast":
                with torch.autocast("cpu", torch.bfloat16):
                    loss = module.loss(batch)
            else:
                level = abar[batch.t][:, None, None, None]
                xt = level.sqrt() * batch.x0 + (1 - level).sqrt() * batch.eps
                v = level.sqrt() * batch.eps - (1 - level).sqrt() * batch.x0
                loss = F.mse_loss(plain(network, xt, batch.t, batch.c), batch.eps if CONFIG.prediction == "eps" else v)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            if path == "fast":
                ema.update(step + 1)
            else:
                decay = min(CONFIG.ema_decay, (2 + step) / (11 + step))
                for mean, p in zip(average, network.parameters(), strict=True):
                    mean.mul_(decay).add_(p.detach(), alpha=1 - decay)
        if path == "plain":
            for mean, p in zip(average, network.parameters(), strict=True):
                p.data.copy_(mean)
        else:
            ema._swap()
        found[path] = (losses, network.eval())
    torch.set_num_threads(threads)
    return found


def test_losses_agree_within_one_percent(trained):
    plain_losses, fast_losses = (np.array(trained[path][0]) for path in ("plain", "fast"))
    assert np.mean(plain_losses[-20:]) < 0.8 * np.mean(plain_losses[:10]), "nothing was learnt, so nothing is compared"
    for start in range(0, STEPS, 20):
        window = slice(start, start + 20)
        assert np.mean(fast_losses[window]) == pytest.approx(np.mean(plain_losses[window]), rel=0.01)


@pytest.mark.parametrize(("precision", "levels"), [("float32", 0.02), ("bf16", 2.0)])
def test_samples_agree(trained, precision, levels):
    """Mean absolute difference in units of uint8 levels."""
    network = trained["plain"][1]
    abar = alpha_bar(CONFIG.schedule, 1000)
    schedule, c, w = Levels.of(abar, 10), BatchCondition(torch.arange(6) % K), 2.0
    x = ImageNoise(0, range(6), (3, 16, 16), torch.device("cpu")).draw()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            model = guided_model(network, CONFIG.prediction, schedule, c, w)
            solver = SAMPLERS["ddim"](schedule, 0.0, torch.device("cpu"))
            noise = ImageNoise(0, range(6), (3, 16, 16), torch.device("cpu"))
            fast = to_uint8(solve(solver, model, schedule, noise, (-1.0, 1.0)))
        table = abar.float()
        steps = [1000 * (i + 1) // 10 - 1 for i in reversed(range(10))]
        for t, after in zip(steps, [*steps[1:], None], strict=True):
            now, then = table[t], table[after] if after is not None else torch.ones(())
            outputs = [plain(network, x, torch.full((6,), t), each) for each in (c.null(), c)]
            if CONFIG.prediction == "v":
                outputs = [now.sqrt() * v + (1 - now).sqrt() * x for v in outputs]
            eps = (1 - w) * outputs[0] + w * outputs[1]
            x0 = ((x - (1 - now).sqrt() * eps) / now.sqrt()).clamp(-1, 1)
            eps = (x - now.sqrt() * x0) / (1 - now).sqrt()
            x = then.sqrt() * x0 + (1 - then).sqrt() * eps
    apart = (fast.float() - to_uint8(x).float()).abs().mean()
    assert apart < levels
    assert to_uint8(x).float().std() > 20, "flat images agree for any network"


@pytest.mark.parametrize(("precision", "within"), [("float32", 1e-4), ("bf16", 0.06)])
@pytest.mark.parametrize("map_channels", [0, 1, 3])
@pytest.mark.parametrize("variant", sorted(DENOISERS))
def test_every_variant_is_its_plain_form(variant, map_channels, precision, within):
    torch.manual_seed(0)
    network = _build(variant, map_channels).eval()
    for name, parameter in network.named_parameters():
        if "norm" not in name:
            scale = 2.0 if "token" in name or "context" in name else 0.7
            torch.nn.init.normal_(parameter, std=scale / max(1, parameter[0].numel()) ** 0.5)
    x, t, ids = torch.randn(3, 3, 16, 16), torch.tensor([0, 500, 999]), torch.tensor([-1, 0, 4])
    c = BatchCondition(ids, torch.rand(3, map_channels, 16, 16).round() if map_channels else None)
    with torch.no_grad():
        expected = plain(network, x, t, c)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            found = [network(x, t, c), torch.stack([network.unrolled(t, c)(x, i)[i] for i in range(3)])]
    for each in found:
        assert (each.float() - expected).abs().mean() < within * expected.std()
