"""Training and guided sampling steps: this project against diffusers and denoising-diffusion-pytorch, in turn.

    python benchmarks/denoiser.py --base 32 64 --autocast --out benchmarks/RESULTS.md    # a CPU
    python benchmarks/denoiser.py --base 64 --levers                                     # what each of our levers gains
    python benchmarks/denoiser.py --device cuda --base 128 --train-batch 128 256 --sample-batch 512

Every contender has a process of its own, on the same cores with the same number of threads; one works at a time, in
turn, after untimed calls. Networks are of equal width: channels (1, 2, 4) x base, two blocks a level, attention at
size / 4 (denoising-diffusion-pytorch has its own linear attention everywhere). Training steps include noise, loss,
backward, optimiser and EMA, as each library's own example or trainer does them; sampling steps are guided DDIM, null
and conditional estimate. Peers run as shipped, in float32, and with --autocast under bf16 autocast as well.

Needs requirements-dev.txt.
"""

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from harness import Time, clock, cpu_model, in_turn, median, publish, section, set_threads, table

# torch is imported in child processes alone.
OURS = "selfguide"
DIFFUSERS, LUCIDRAINS = "diffusers", "denoising-diffusion-pytorch"
STEPS = ("training", "guided sampling")
#: What is put in the place of a lever => what it is, and the steps that it concerns.
LEVERS = {
    "float32": ("float32 instead of bf16", STEPS),
    "one pool": ("operators on all threads instead of a part of the batch per thread", STEPS),
    "loop AdamW": ("torch's default AdamW instead of the fused one", STEPS[:1]),
    "loop EMA": ("a loop over parameters instead of one foreach call", STEPS[:1]),
    "embeddings per step": ("time and guidance embeddings computed in each sampling step instead of once", STEPS[1:]),
    "two forwards": ("null and conditional estimate one after the other", STEPS[1:]),
}
NUM_IDS, W = 100, 2.0
OTHER = "of another checkout"


class Diffusers:
    """UNet2DModel, trained as in examples/unconditional_image_generation/train_unconditional.py with --use_ema.

    Its options are those that make it most like ours: scale and shift by the embedding, residual blocks that resample.
    """

    def __init__(self, base: int, size: int, device: str, autocast: bool, compile: bool) -> None:
        import torch
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
        from diffusers.training_utils import EMAModel

        attention = ("AttnDownBlock2D", "AttnUpBlock2D")
        self.network = UNet2DModel(
            sample_size=size, block_out_channels=(base, 2 * base, 4 * base), layers_per_block=2,
            down_block_types=("DownBlock2D", "DownBlock2D", attention[0]), attention_head_dim=4 * base // 8,
            up_block_types=(attention[1], "UpBlock2D", "UpBlock2D"), num_class_embeds=NUM_IDS + 1,
            resnet_time_scale_shift="scale_shift", downsample_type="resnet", upsample_type="resnet",
        ).to(device)  # fmt: skip
        self.called = torch.compile(self.network) if compile else self.network
        self.device, self.autocast = device, torch.autocast(device, torch.bfloat16, enabled=autocast)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
        self.ema = EMAModel(self.network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75,
                            model_cls=UNet2DModel, model_config=self.network.config)  # fmt: skip
        self.ema.to(device)
        self.ddpm, self.ddim = DDPMScheduler(num_train_timesteps=1000), DDIMScheduler(num_train_timesteps=1000)
        self.ddim.set_timesteps(250)

    def forward(self, x: Any, t: Any, labels: Any) -> Any:
        return self.called(x, t, labels).sample

    def train_step(self, images: Any, labels: Any) -> None:
        import torch

        noise = torch.randn_like(images)
        t = torch.randint(0, 1000, (len(images),), device=images.device)
        labels = torch.where(torch.rand(len(images), device=images.device) < 0.1, NUM_IDS, labels)
        noisy = self.ddpm.add_noise(images, noise, t)
        with self.autocast:
            loss = torch.nn.functional.mse_loss(self.forward(noisy, t, labels).float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.step(self.network.parameters())
        loss.detach().item()

    def sample_step(self, x: Any, i: int, labels: Any, w: float) -> Any:
        import torch

        t = self.ddim.timesteps[i]
        with torch.no_grad(), self.autocast:
            both = torch.cat([torch.full_like(labels, NUM_IDS), labels])
            null, cond = self.forward(torch.cat([x, x]), t, both).float().chunk(2)
        return self.ddim.step(null + w * (cond - null), t, x).prev_sample


class Lucidrains:
    """classifier_free_guidance.Unet, trained as by the library's Trainer, drawn as by GaussianDiffusion.ddim_sample."""

    def __init__(self, base: int, size: int, device: str, autocast: bool) -> None:
        import torch
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet
        from ema_pytorch import EMA

        self.network = Unet(base, NUM_IDS, cond_drop_prob=0.1, dim_mults=(1, 2, 4)).to(device)
        self.diffusion = GaussianDiffusion(self.network, image_size=size, timesteps=1000, sampling_timesteps=250)
        self.diffusion.to(device)
        self.autocast = torch.autocast(device, torch.bfloat16, enabled=autocast)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4, betas=(0.9, 0.99))
        self.ema = EMA(self.diffusion, beta=0.995, update_every=10)
        self.times = torch.linspace(-1, 999, steps=251).int().flip(0).tolist()

    def train_step(self, images: Any, labels: Any) -> None:
        import torch

        with self.autocast:
            loss = self.diffusion((images + 1) / 2, classes=labels)
        loss.item()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update()

    def sample_step(self, x: Any, i: int, labels: Any, w: float) -> Any:
        import torch

        d, (now, then) = self.diffusion, self.times[i : i + 2]
        t = torch.full((len(x),), now, device=x.device, dtype=torch.long)
        with torch.no_grad(), self.autocast:
            noise, x0, *_ = d.model_predictions(x, t, labels, cond_scale=w, rescaled_phi=0.0, clip_x_start=True)
            if then < 0:
                return x0
            alpha = d.alphas_cumprod[then]
            return x0 * alpha.sqrt() + (1 - alpha).sqrt() * noise


class Ours:
    """See benchmarks/contender.py; `lever`, of LEVERS, is replaced."""

    def __init__(self, base: int, size: int, device: str, batch: int, compile: bool, lever: str | None) -> None:
        from contender import make

        changes = {"precision": "32-true"} if lever == "float32" else {}
        self.contender = c = make(base, size, NUM_IDS, batch, device=device, compile=compile, **changes)
        self.network = c.network
        self.train_step, self.sample_step, self.predict = c.train_step, c.sample_step, c.predict
        if lever not in (None, "float32"):
            {"one pool": one_pool, "loop AdamW": loop_adamw, "loop EMA": loop_ema, "embeddings per step": embeddings,
             "two forwards": two_forwards}[lever](c)  # fmt: skip


def one_pool(c: Any) -> None:
    from selfguide.denoiser.parts import InParts

    c.module._in_parts = InParts(c.network, 1, 1)
    c.num_parts = lambda batch: 1


def loop_adamw(c: Any) -> None:
    import torch

    group = c.optimizer.param_groups[0]
    c.optimizer = torch.optim.AdamW(c.network.parameters(), lr=group["lr"], weight_decay=group["weight_decay"])


def loop_ema(c: Any) -> None:
    import torch

    @torch.no_grad()
    def update(num_updates: int) -> None:
        decay = min(c.ema.decay, (1 + num_updates) / (10 + num_updates))
        for average, parameter in zip(c.ema.average, c.network.parameters(), strict=True):
            average.mul_(decay).add_(parameter, alpha=1 - decay)

    c.ema.update = update


def embeddings(c: Any) -> None:
    network = c.sampled
    network.unrolled = lambda t, c: lambda x, i: network(x, t[i].expand(len(x)), c)


def two_forwards(c: Any) -> None:
    from selfguide.samples.guidance import guide, guided_model
    from selfguide.samples.solver import clean_model
    from selfguide.signal.condition import BatchCondition

    def estimate(labels: Any, w: float) -> Any:
        condition = BatchCondition(labels)
        null, cond = (guided_model(c.sampled, "eps", c.levels, condition, only) for only in (0, 1))
        return clean_model(lambda x, i: guide(null(x, i), cond(x, i), w), c.levels, c.bounds, c.device)

    c.estimate = estimate


def build(name: str, args: argparse.Namespace) -> Any:
    """The contender of that name: a library, "; bf16" after it for autocast, or ours without a lever."""
    library, _, variant = name.partition("; ")
    if library == OURS:
        lever = variant.removeprefix("with ") or None
        return Ours(args.base, args.size, args.device, args.batch, args.compile, lever)
    bf16, compiled = variant.startswith("bf16"), variant.endswith("compiled")
    if library == LUCIDRAINS:
        return Lucidrains(args.base, args.size, args.device, bf16)
    return Diffusers(args.base, args.size, args.device, bf16, compiled)


def gigaflops(contender: Any, size: int, device: str) -> dict[str, float]:
    """Arithmetic for one image, 2 per multiply-add: a training step, and the two estimates of a guided one."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    predict = getattr(contender, "predict", contender.network)
    x, index = torch.randn(1, 3, size, size, device=device), torch.zeros(1, dtype=torch.long, device=device)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        predict(x, index, index)
    with FlopCounterMode(display=False) as both:
        out = predict(x, index, index)
        getattr(out, "sample", out).sum().backward()
    contender.network.zero_grad()
    return dict(zip(STEPS, (both.get_total_flops() / 1e9, 2 * forward.get_total_flops() / 1e9), strict=True))


def child(args: argparse.Namespace) -> None:
    """One contender: a line of JSON about it, then a line of times for each name of a step that is read."""
    set_threads(args.threads)
    import torch

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    contender = build(args.child, args)
    facts = {"parameters": sum(p.numel() for p in contender.network.parameters()),
             "gigaflops": gigaflops(contender, args.size, args.device)}  # fmt: skip
    images = torch.randint(0, 256, (args.batch, args.size, args.size, 3), dtype=torch.uint8).to(args.device)
    if not isinstance(contender, Ours):
        images = images.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()  # as their loaders give them
    labels = torch.randint(NUM_IDS, (args.batch,), device=args.device)
    x = torch.randn(args.batch, 3, args.size, args.size, device=args.device)

    def wait() -> None:
        if args.device == "cuda":
            torch.cuda.synchronize()

    def steps(kind: str) -> None:
        for i in range(args.inner):
            if kind == "training":
                contender.train_step(images, labels)
            else:
                contender.sample_step(x, i, labels, W)
        wait()

    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        wait()
        took = clock(partial(steps, line.strip()))
        print(json.dumps([took.wall / args.inner, took.cpu / args.inner]), flush=True)


class Child:
    """The process of a contender."""

    def __init__(self, name: str, args: argparse.Namespace, base: int, batch: int) -> None:
        self.name = name
        root = Path(__file__).resolve().parents[1]
        if name == OTHER:
            name, root = OURS, Path(args.other).resolve()
        command = [sys.executable, str(root / "benchmarks/denoiser.py"), "--child", name, "--base", str(base)]
        command += ["--size", str(args.size), "--batch", str(batch), "--threads", str(args.threads)]
        command += ["--device", args.device, "--inner", str(args.inner), *(["--compile"] if args.compile else [])]
        environment = os.environ | {name: str(args.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        environment |= {"SELFGUIDE_ACCELERATOR": "gpu" if args.device == "cuda" else "cpu"}
        environment["PYTHONPATH"] = str(root / "src")  # and not an installed one
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts = self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: exit status {self.process.wait()}")
        return json.loads(line)

    def run(self, step: str) -> Time:
        """Let it do a turn; what a single step took."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{step}\n")
        self.process.stdin.flush()
        return Time(*self._read())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def names(step: str, args: argparse.Namespace) -> list[str]:
    """Which contenders run."""
    if args.levers:
        return [OURS, *(f"{OURS}; with {lever}" for lever, (_, steps) in LEVERS.items() if step in steps)]
    found = [OURS, *([OTHER] if args.other else []), *args.peers]
    if args.autocast:
        found += [f"{peer}; bf16" for peer in args.peers]
    # The other one computes both estimates in a method of its own, past what torch.compile replaces.
    return found + ([f"{DIFFUSERS}; bf16 compiled"] if args.compile and DIFFUSERS in args.peers else [])


def compare(step: str, base: int, batch: int, args: argparse.Namespace) -> list[str]:
    """Time one kind of step of all contenders; lines of a table."""
    children = []
    try:
        for name in names(step, args):
            children.append(Child(name, args, base, batch))
        times = in_turn({each.name: (lambda each=each: each.run(step)) for each in children}, args.rounds, args.warm_up)
        facts = {each.name: each.facts for each in children}
    finally:
        for each in children:
            each.close()
    medians = {name: median(found) for name, found in times.items()}
    ours = medians[OURS]
    peers = {name: found.wall for name, found in medians.items() if name not in (OURS, OTHER)}
    gpu = args.device == "cuda"
    columns = [f"{step}, base {base}, batch {batch}", "parameters", "GFLOP per image", "wall", "CPU", "images/s",
               "wall / ours", "CPU / ours", *(["MFU"] if gpu else [])]  # fmt: skip
    rows = []
    for name, took in medians.items():
        flops = facts[name]["gigaflops"][step]
        rows.append([
            name, f"{facts[name]['parameters'] / 1e6:.2f} M", f"{flops:.2f}", f"{1e3 * took.wall:.3g} ms",
            f"{1e3 * took.cpu:.3g} ms", f"{batch / took.wall:.4g}", f"{took.wall / ours.wall:.2f}",
            f"{took.cpu / ours.cpu:.2f}",
            *([f"{flops * batch / took.wall / args.peak_tflops / 1e3:.1%}"] if gpu else []),
        ])  # fmt: skip
    lines = ["", *table(columns, rows)]
    if args.peers and not args.levers:
        lines.append("")
        for kind, some in (("as shipped", [name for name in peers if ";" not in name]), ("at all", list(peers))):
            best = min(some, key=lambda name: peers[name])
            lines.append(f"- Images per second, against the best peer {kind}, {best}: {peers[best] / ours.wall:.2f}x.")
    return lines


def hardware(args: argparse.Namespace) -> str:
    """What the steps ran on."""
    if args.device == "cpu":
        return f"{args.threads} thread(s) on as many cores of {cpu_model()}"
    code = "import torch; print(torch.cuda.get_device_name())"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return f"one {name}, {args.peak_tflops:g} TFLOP/s at most"


def report(args: argparse.Namespace) -> list[str]:
    """Lines of the whole section."""
    what = "what each lever gains" if args.levers else "against peers"
    head, first = section(
        f"Denoiser at {args.size} px: training and guided sampling, {what}", "benchmarks/denoiser.py", hardware(args),
        ("torch", *(() if args.levers else args.peers)),
    )  # fmt: skip
    lines = [
        head,
        f"{first} Medians of {args.rounds} turns of {args.inner} step(s) after {args.warm_up} untimed turns, contenders"
        f" in turn, each in its own process; K = {NUM_IDS}, w = {W:g}.",
    ]
    for base in args.bases:
        for step, batches in zip(STEPS, (args.train_batch, args.sample_batch), strict=True):
            for batch in batches:
                lines += compare(step, base, batch, args)
    if args.levers:
        lines += ["", *(f"- *{name}*: {what}." for name, (what, _) in LEVERS.items())]
    return lines


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", dest="bases", type=int, nargs="+", default=[32, 64], help="widths")
    parser.add_argument("--size", type=int, default=32, help="side in pixels (default: %(default)s)")
    parser.add_argument("--train-batch", type=int, nargs="+", default=[16], metavar="B", help="default: 16")
    parser.add_argument("--sample-batch", type=int, nargs="+", default=[16], metavar="B", help="default: 16")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="timed turns of each contender (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=3, help="untimed turns of each before (default: %(default)s)")
    parser.add_argument("--inner", type=int, default=1, help="steps in a turn; more on a GPU (default: %(default)s)")
    parser.add_argument("--peers", nargs="*", default=[DIFFUSERS, LUCIDRAINS], choices=[DIFFUSERS, LUCIDRAINS])
    parser.add_argument("--other", metavar="FOLDER", help="and ours as another checkout has it")
    parser.add_argument("--autocast", action="store_true", help="peers under bf16 autocast, too")
    parser.add_argument("--levers", action="store_true", help="ours with one lever removed at a time, no peers")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--compile", action="store_true", help="ours compiled; diffusers with bf16 and torch.compile, too"
    )
    parser.add_argument("--peak-tflops", type=float, default=989, help="of the GPU, for MFU (default: H100, bf16)")
    parser.add_argument("--out", metavar="FILE", help="append the report to a Markdown file, too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        args.base = args.bases[0]
        child(args)
        return
    publish(report(args), args.out)


if __name__ == "__main__":
    main()
