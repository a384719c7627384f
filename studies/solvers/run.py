"""FD against steps and network evaluations for each solver, and guidance against its cheaper and better relatives.

    python studies/solvers/run.py --model models/checkpoint --condition data/condition --reference data/reference

Every solver at every number of steps, on the same noise and conditions; then, at one solver and number of steps, plain
classifier-free guidance, guidance intervals, and autoguidance where the model has a weak model (checkpoint.weak_model).
Contenders take turns within a seed (A B C, A B C), and ratios of time are taken within a seed. A row is written to
runs.csv as soon as it is there; the same command later goes on behind the last one. Writes runs.md and runs.png too.
"""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import torch

from selfguide.condition.artifact import Condition
from selfguide.core.artifact import Array
from selfguide.core.runtime import resolve_precision
from selfguide.core.stage import run
from selfguide.denoiser.artifact import Denoiser
from selfguide.metrics.extract import extract
from selfguide.metrics.frechet import frechet_between
from selfguide.metrics.networks.registry import build_network
from selfguide.metrics.reference_set import Reference
from selfguide.samples.draw import draw_signal
from selfguide.samples.generator import Generator, load
from selfguide.samples.levels import Levels
from selfguide.samples.registry import SAMPLERS

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parents[1] / "benchmarks")]
from harness import Time, clock, cpu_model, section, table  # noqa: E402
from report import draw_lines, read_csv, spread, write_csv  # noqa: E402

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import NullLocator  # noqa: E402

NETWORK = "efficientnet_lite0"
BATCH_SIZE = 16


@dataclass(frozen=True)
class Job:
    """One row: what is drawn and scored. All but the last three fields tell rows apart."""

    part: str
    model: str
    precision: str
    num_images: int
    sampler: str
    steps: int
    w: float
    interval: str
    guiding: str
    seed: int
    evaluations: int = 0
    fd: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(str(getattr(self, field.name)) for field in dataclasses.fields(Job)[:10])


def parse_interval(text: str) -> tuple[float, float] | None:
    """The noise levels of "LOW,HIGH"; None of ""."""
    low, high = map(float, text.split(",")) if text else (0.0, 0.0)
    return (low, high) if text else None


def jobs(args: argparse.Namespace, model: str, has_weak: bool) -> Iterator[Job]:
    """All rows, in the order in which they are made."""
    common = {"model": model, "precision": args.precision, "num_images": args.num_images}
    fixed = {"sampler": args.guidance_sampler, "steps": args.guidance_steps}
    for seed in args.seeds:
        for steps in args.steps:
            for sampler in args.solvers:
                yield Job("solvers", **common, sampler=sampler, steps=steps, w=args.w, interval="",
                          guiding="null_condition", seed=seed)  # fmt: skip
        for w in args.guidance_w:
            for interval in ("", *args.intervals):
                yield Job("guidance", **common, **fixed, w=w, interval=interval, guiding="null_condition", seed=seed)
            if has_weak:
                yield Job("guidance", **common, **fixed, w=w, interval="", guiding="weak_model", seed=seed)


def draw(generator: Generator, ids: Array, job: Job, batch_size: int) -> tuple[Array, Time]:
    """The images of a row, and what they took."""
    images: list[Array] = []
    mixed = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(resolve_precision(job.precision))
    device = next(generator.network.parameters()).device.type
    with torch.autocast(device, mixed) if mixed else contextlib.nullcontext():
        time = clock(
            lambda: images.append(
                generator.sample(
                    ids, job.w, job.steps, job.seed, sampler=job.sampler, guiding=job.guiding, batch_size=batch_size,
                    guidance_interval=parse_interval(job.interval),
                )
            )
        )  # fmt: skip
    return images[0], time


def read(path: Path) -> list[Job]:
    """The rows that there are."""
    types = {field.name: field.type for field in dataclasses.fields(Job)}
    return [Job(**{name: types[name](value) for name, value in row.items()}) for row in read_csv(path)]


def append(path: Path, row: Job) -> None:
    """Write one more row."""
    texts = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in vars(row).items()}
    write_csv(path, [*read_csv(path), texts])


def solver_table(rows: list[Job]) -> list[str]:
    """FD and evaluations by solver and number of steps."""
    steps = sorted({row.steps for row in rows})
    lines = []
    for sampler in dict.fromkeys(row.sampler for row in rows):
        cells = [sampler]
        for number in steps:
            found = [row for row in rows if (row.sampler, row.steps) == (sampler, number)]
            cells.append(
                f"{spread([r.fd for r in found], sd='.2g', alone='')} ({found[0].evaluations})" if found else ""
            )
        lines.append(cells)
    return table(["solver", *(f"{n} steps" for n in steps)], lines)


def guidance_table(rows: list[Job]) -> list[str]:
    """FD of each kind of guidance, and its time relative to plain guidance with the same seed and w."""
    plain = {(row.w, row.seed): row for row in rows if not row.interval and row.guiding == "null_condition"}
    lines = []
    for w, interval, guiding in dict.fromkeys((row.w, row.interval, row.guiding) for row in rows):
        found = [row for row in rows if (row.w, row.interval, row.guiding) == (w, interval, guiding)]
        name = "autoguidance" if guiding == "weak_model" else "interval" if interval else "classifier-free"
        pairs = [(row, plain[w, row.seed]) for row in found if (w, row.seed) in plain]
        times = [
            spread([getattr(a, what) / getattr(b, what) for a, b in pairs], ".2f", ".2g", "")
            for what in ("wall", "cpu")
        ]
        lines.append([name, f"{w:g}", interval or "all", spread([row.fd for row in found], sd=".2g", alone=""), *times])
    return table(["guidance", "w", "noise levels", "FD", "time", "processor time"], lines)


def picture(rows: list[Job], path: Path) -> None:
    """FD against steps, and against network evaluations."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, what in zip(axes, ("steps", "evaluations"), strict=True):
        lines: dict[str, dict[float, list[float]]] = {}
        for row in sorted(rows, key=lambda row: row.steps):
            lines.setdefault(row.sampler, {}).setdefault(getattr(row, what), []).append(row.fd)
        draw_lines(axis, {name: lines[name] for name in dict.fromkeys(row.sampler for row in rows)}, levels={})
        axis.set(xscale="log", xlabel="network evaluations" if what == "evaluations" else what)
        ticks = [5, 10, 20, 50, 100, 200, 500]
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel(f"FD ({NETWORK})")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/checkpoint", help="folder of a denoiser (default: %(default)s)")
    parser.add_argument("--condition", default="data/condition")
    parser.add_argument("--reference", default="data/reference")
    parser.add_argument("--num-images", type=int, default=1000, help="for each row and seed (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 15, 20, 25, 50, 100, 250])
    parser.add_argument("--solvers", nargs="+", choices=list(SAMPLERS), default=list(SAMPLERS))
    parser.add_argument("--w", type=float, default=1.5, help="guidance strength of the solvers (default: %(default)s)")
    parser.add_argument("--guidance-sampler", choices=list(SAMPLERS), default="dpmpp_2m")
    parser.add_argument("--guidance-steps", type=int, default=20)
    parser.add_argument("--guidance-w", type=float, nargs="*", default=[1.5, 2.0, 3.0], help="none: leave it out")
    parser.add_argument("--intervals", nargs="*", default=["0.2,3", "0.2,10", "0.5,3"], metavar="LOW,HIGH")
    parser.add_argument("--precision", choices=["auto", "32-true", "bf16-mixed", "16-mixed"], default="auto")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=HERE / "runs.csv", help="and .md and .png beside it")
    args = parser.parse_args()

    denoiser, condition = Denoiser.load(args.model), Condition.load(args.condition)
    generator, real = load(args.model, device=args.device), Reference.load(args.reference).spaces[NETWORK]
    network = build_network(NETWORK)
    wanted = {job.key: job for job in jobs(args, denoiser.digest[:12], generator.weak is not None)}
    done = {row.key for row in read(args.out)}
    is_warm = False
    for key, job in wanted.items():
        if key in done:
            continue
        ids = draw_signal(condition, job.num_images, job.seed).ids
        if not is_warm:  # the first calls of a shape are slower
            draw(generator, ids[: args.batch_size], dataclasses.replace(job, steps=2), args.batch_size)
            is_warm = True
        images, time = draw(generator, ids, job, args.batch_size)
        features = extract(network, images, BATCH_SIZE, {"use": "solvers"})
        assert features is not None  # one process
        levels = Levels.of(generator.abar, job.steps)
        evaluations = SAMPLERS[job.sampler](levels, 0.0, torch.device("cpu")).num_evaluations
        fd = frechet_between(features.moments, real.train.moments)
        row = dataclasses.replace(job, evaluations=evaluations, fd=fd, wall=time.wall, cpu=time.cpu)
        append(args.out, row)
        print(row, flush=True)

    rows = [row for row in read(args.out) if row.key in wanted]
    hardware = torch.cuda.get_device_name() if args.device.startswith("cuda") else cpu_model()
    settings = f"{torch.get_num_threads()} thread(s), {hardware}"
    lines = section("Solvers and guidance", "studies/solvers/run.py", settings, ["torch"])
    lines[-1] += (
        f" FD in {NETWORK} of {args.num_images} images to {len(real.train)} training images, {len(args.seeds)} seed(s),"
        f" {resolve_precision(args.precision)}"
    )
    if real.heldout is not None:
        floor = frechet_between(real.heldout.moments, real.train.moments)
        lines[-1] += f"; that of {len(real.heldout)} held-out images is {floor:.4g}"
    lines[-1] += "."
    parts = {part: [row for row in rows if row.part == part] for part in ("solvers", "guidance")}
    if parts["solvers"]:
        lines += ["", f"FD at w = {args.w:g} (network evaluations):", "", *solver_table(parts["solvers"])]
        picture(parts["solvers"], args.out.with_suffix(".png"))
    if parts["guidance"]:
        what = f"{args.guidance_sampler}, {args.guidance_steps} steps; time relative to classifier-free guidance:"
        lines += ["", what, "", *guidance_table(parts["guidance"])]
    args.out.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
