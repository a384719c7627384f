"""Time and memory of every stage from images to denoiser on synthetic sets as large as ImageNet32 or ImageNet64.

    python benchmarks/scale.py --folder /disk/scale --num 20000 80000
    python benchmarks/scale.py --folder /disk/scale --num 1280000 --source imagenet

The stages run as `python -m stages.NAME`, one process each, in FOLDER/NUM, which stays there. What is cut short: the
backbone (ResNet-18 of width 16 on images of 16 px) is trained for one epoch on --backbone-images images of their own;
k-means takes --iterations; a tiny denoiser takes --steps of 32 images. The features are those of all images.

Memory is that of the process and its children, sampled 20 times a second: `anonymous` is what it allocated, `resident`
has the mapped file pages in memory on top, which the kernel drops when it needs the room. Linux only.
"""

import argparse
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from harness import cpu_model, publish, section, table

from selfguide.core.config import read_yaml
from selfguide.presets import Presets

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("images", "backbone", "features", "clusters", "annotations", "condition", "denoiser")


@dataclass(frozen=True)
class Cost:
    """Of one stage: seconds, by the clock and of all processors, and peak bytes."""

    wall: float
    cpu: float
    anonymous: int
    resident: int


def memory(root: int) -> tuple[int, int]:
    """Anonymous (with shared memory) and resident bytes of a process and its descendants."""
    children: dict[int, list[int]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "status").read_text()
        except OSError:  # it ended meanwhile
            continue
        fields = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if len(line.split()) > 1}
        children.setdefault(int(fields["PPid"]), []).append(int(folder.name))
        anonymous = int(fields.get("RssAnon", 0)) + int(fields.get("RssShmem", 0))
        sizes[int(folder.name)] = 1024 * anonymous, 1024 * int(fields.get("VmRSS", 0))
    total, queue = (0, 0), [root]
    while queue:
        process = queue.pop()
        queue += children.get(process, [])
        found = sizes.get(process, (0, 0))
        total = total[0] + found[0], total[1] + found[1]
    return total


def run(folder: Path, stage: str, *arguments: str) -> Cost:
    """Run a stage in `folder`; its output goes to FOLDER/log.txt."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "SELFGUIDE_PROGRESS": "0"}
    command = [sys.executable, "-m", f"stages.{stage}", *arguments]
    peak = [0, 0]
    with (folder / "log.txt").open("a") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.05):
            peak[:] = map(max, peak, memory(process.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    sampler.join()
    if process.returncode:
        raise SystemExit(f"stages.{stage} failed; see {folder / 'log.txt'}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak[0], max(peak[1], 1024 * usage.ru_maxrss))


def write_params(path: Path, args: argparse.Namespace, num: int) -> None:
    """params.yaml of the default configuration, cut short and on `num` images."""
    params: dict[str, Any] = read_yaml(ROOT / "params.yaml")
    own = args.source == "scenes"
    params["guidance"], params["k"] = "self_labeled", args.k
    params["images"] |= {
        "source": "scenes" if own else f"imagenet{args.size}",
        "path": None if own else "raw",
        "size": args.size,
        "num_train": num,
        "num_heldout": 0,
    }
    params["backbone"] |= {"variant": "simclr_resnet18", "width": 16, "input_size": 16, "epochs": 1}
    params["clusters"] |= {"num_iterations": args.iterations, "num_redo": 1}
    params["denoiser"] = Presets(ROOT / "presets").values("tiny")["denoiser"]
    params["denoiser"] |= {"max_steps": args.steps, "warmup_steps": 0, "decay_steps": 0, "batch_size": 32}
    params["denoiser"]["network"]["attention_resolutions"] = []
    params["reference"]["num_heldout"] = None
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def write_imagenet(folder: Path, num: int, size: int) -> None:
    """Noise in the ten files of the downsampled ImageNet."""
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(num), 10), start=1):
        rng = np.random.default_rng(number)
        data = np.frombuffer(rng.bytes(len(rows) * 3 * size**2), np.uint8).reshape(len(rows), -1)
        batch = {"data": data, "labels": rng.integers(1, 1001, len(rows)).tolist()}
        with (folder / f"train_data_batch_{number}").open("wb") as file:
            pickle.dump(batch, file, protocol=3)


def measure(args: argparse.Namespace, num: int) -> list[str]:
    """Run all stages on `num` images; the lines of a table."""
    folder = args.folder / str(num)
    folder.mkdir(parents=True)
    write_params(folder / "params.yaml", args, num)
    if args.source == "imagenet":
        write_imagenet(folder / "raw", num, args.size)
    few = {"source": "scenes", "path": None, "num_train": args.backbone_images}
    params = read_yaml(folder / "params.yaml")
    few_params = {**params, "images": params["images"] | few, "k": min(args.k, args.backbone_images)}
    (folder / "few.yaml").write_text(yaml.safe_dump(few_params))
    run(folder, "images", "--params", "few.yaml", "--out", "data/few", "--picture", "few.png")
    arguments = {"backbone": ("--images", "data/few"), "annotations": ("--guidance", "self_labeled")}
    rows = []
    for stage in STAGES[: STAGES.index(args.until) + 1]:
        cost = run(folder, stage, *arguments.get(stage, ()))
        handled = {"backbone": args.backbone_images, "denoiser": 32 * args.steps}.get(stage, num)
        sizes = (f"{size / 1e9:.2f} GB" for size in (cost.anonymous, cost.resident))
        rows.append([stage, f"{cost.wall:.1f} s", f"{cost.cpu:.1f} s", f"{handled / cost.wall:,.0f}", *sizes])
        print(*rows[-1], flush=True)
    title = [f"{num:,} images of {args.size} px, k = {args.k:,}:", ""]
    return [*title, *table(["stage", "wall", "CPU", "images/s", "peak anonymous", "peak resident"], rows), ""]


def main() -> None:
    """Measure every size that is asked for, and print a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the data goes: 3.3 x the images, or 7 x")
    parser.add_argument("--num", type=int, nargs="+", default=[1_280_000], help="images (default: %(default)s)")
    parser.add_argument("--size", type=int, choices=(32, 64), default=32, help="their side (default: %(default)s)")
    parser.add_argument("--source", choices=("scenes", "imagenet"), default="scenes",
                        help="rendered, or noise in the files of the downsampled ImageNet")  # fmt: skip
    parser.add_argument("--k", type=int, default=5000, help="clusters (default: %(default)s)")
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage that runs")
    parser.add_argument("--backbone-images", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--iterations", type=int, default=5, help="of k-means (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of the denoiser (default: %(default)s)")
    parser.add_argument("--out", help="file to append the report to")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    lines = [line for num in args.num for line in measure(args, num)]
    hardware = f"{len(os.sched_getaffinity(0))} core(s) of {cpu_model()}"
    head = section("Scale", "benchmarks/scale.py", hardware, ("torch", "numpy"))
    head[-1] += (
        f" OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}. {args.iterations} iterations of k-means; "
        f"{args.steps} steps of the denoiser; the backbone trained on {args.backbone_images:,} images."
    )
    publish([*head, "", *lines], args.out)


if __name__ == "__main__":
    main()
