"""Wall time and peak memory of scoring a set of images: this project, clean-fid and torch-fidelity, same network.

    python benchmarks/metrics.py --out FILE.md       # RESULTS.md has some runs, each with its command

Every contender scores the same images (rendered, nothing is downloaded) in the same network, EfficientNet-Lite0 as this
project builds it, by FD, Inception Score, KID, precision and recall. Each run is a process of its own, from start to
exit; contenders take turns. Peers run with their default settings, and again with the fastest of several batch sizes.
The scores are compared too: a fast wrong answer is no answer.

Needs requirements-dev.txt.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import cpu_model, publish, section, set_threads

# Everything heavy is imported in child processes: the peak memory of a child starts from that of its parent.
NETWORK = "efficientnet_lite0"
BATCH_SIZES = (8, 16, 64)
SCORES = ("fd", "is", "kid", "precision", "recall")
#: How far two scores of one set may lie apart: relative, but for precision and recall, where two images may flip.
TOLERANCE = {"fd": 1e-4, "is": 1e-4, "kid": 1e-3}

CONTENDERS = {
    "selfguide, nothing cached": "reference and floor computed too",
    "selfguide": "reference and floor cached, as for every run of the metrics stage but the first",
    "selfguide, whole stage": "the same with held-out images: their FD and KID, and the memorisation readout, too",
    "clean-fid + torch-fidelity": "FD by clean-fid from folders of PNG, the rest by torch-fidelity",
    "torch-fidelity": "all scores in one call; nothing cached",
    "torch-fidelity, cached": "the same with its own cache of the reference",
}
PEERS = [name for name in CONTENDERS if "fidelity" in name]


def metrics_config(args: argparse.Namespace) -> Any:
    from selfguide.metrics.config import MetricsConfig

    return MetricsConfig(
        batch_size=16, nearest_k=3, num_nearest=None, splits=10, kid_subsets=100, kid_subset_size=args.kid_subset_size
    )


def prepare(args: argparse.Namespace) -> None:
    """Render the images; compute what the cached contenders find ready."""
    import numpy as np
    from PIL import Image, ImageFilter

    from selfguide.images.build import build
    from selfguide.images.config import ImagesConfig

    config = ImagesConfig(
        source="scenes", path=None, heldout_path=None, download=False, unreadable="error", max_pixels=180_000_000,
        size=args.size, crop="center", num_train=args.num, num_heldout=args.num,
        scene_objects=1, split=None, heldout_split=None, annotations=None, crop_scale=(1.05, 1.25), num_views=1,
        masks=None, mask_classes=None,
    )  # fmt: skip
    real, other = build(config, 0, "images/real"), build(config, 1, "images/other")
    assert real.heldout is not None
    fake = [Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.5)) for image in other.train.pixels]
    sets = {"real": real.train.pixels, "heldout": real.heldout.pixels, "fake": np.stack([np.asarray(x) for x in fake])}
    for name, pixels in sets.items():
        np.save(f"{name}.npy", pixels)
        Path(name).mkdir()
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(f"{name}/{number:06}.png", compress_level=1)
    selfguide_reference(args)


def extract_sets(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Features of the named image sets by this project."""
    import numpy as np

    from selfguide.metrics.extract import extract
    from selfguide.metrics.networks.registry import build_network

    network, batch_size = build_network(NETWORK), metrics_config(args).batch_size
    return {name: extract(network, np.load(f"{name}.npy", mmap_mode="r"), batch_size, {"use": name}) for name in names}


def selfguide_reference(args: argparse.Namespace) -> None:
    """What the stages `reference` and `floor` do, with and without held-out images."""
    from selfguide.metrics.floor import compute_floor, save_floors
    from selfguide.metrics.reference_set import RealFeatures, Reference

    features = extract_sets(args, ("real", "heldout"))
    for what, heldout in (("train", None), ("heldout", features["heldout"])):
        real = RealFeatures(features["real"], heldout)
        Reference({NETWORK: real}).save(f"reference_{what}")
        save_floors(f"floor_{what}", {NETWORK: compute_floor(real, metrics_config(args), args.num)})


def selfguide_scores(args: argparse.Namespace) -> dict[str, float]:
    """What the stages `reference`, `floor` and `metrics` do, without held-out images."""
    from selfguide.metrics.evaluate import score
    from selfguide.metrics.floor import compute_floor
    from selfguide.metrics.reference_set import RealFeatures

    config, features = metrics_config(args), extract_sets(args, ("real", "fake"))
    real = RealFeatures(features["real"], None)
    return ours(score(features["fake"], real, compute_floor(real, config, args.num), config))


def selfguide_cached_scores(args: argparse.Namespace, what: str) -> dict[str, float]:
    """What the stage `metrics` does."""
    from selfguide.metrics.evaluate import score
    from selfguide.metrics.floor import load_floor
    from selfguide.metrics.reference_set import Reference

    real = Reference.load(f"reference_{what}").spaces[NETWORK]
    fake = extract_sets(args, ("fake",))["fake"]
    return ours(score(fake, real, load_floor(f"floor_{what}", NETWORK), metrics_config(args)))


def ours(scores: dict[str, float]) -> dict[str, float]:
    return {name: scores[f"{name}_{NETWORK}"] for name in SCORES}


def clean_fid_distance(args: argparse.Namespace) -> float:
    """FD of two folders: its only call with a network of one's own. Images come as float32 NCHW in 0..255."""
    import numpy as np
    from cleanfid.fid import compute_fid

    from selfguide.metrics.networks.registry import build_network

    network = build_network(NETWORK)

    def features(batch: Any) -> Any:
        return network(batch.round().byte().permute(0, 2, 3, 1).contiguous())[0]

    settings = {} if args.batch_size is None else {"batch_size": args.batch_size, "num_workers": args.threads}
    return float(
        compute_fid(
            "fake", "real", custom_feat_extractor=features, device="cpu", verbose=False,
            custom_fn_resize=lambda image: image.astype(np.float32), **settings,
        )
    )  # fmt: skip


def torch_fidelity_scores(args: argparse.Namespace, fd: bool = True, cached: bool = False) -> dict[str, float]:
    """All scores, or all but FD, in one call on uint8 data sets."""
    import numpy as np
    import torch
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    from selfguide.metrics.networks.registry import build_network

    class Extractor(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = build_network(NETWORK)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            features, logits = self.network(images.permute(0, 2, 3, 1).contiguous())
            return tuple({"features": features, "logits": logits}[name] for name in self.features_list)

    class Images(torch.utils.data.Dataset):
        def __init__(self, name: str) -> None:
            self.pixels = np.load(f"{name}.npy", mmap_mode="r")

        def __len__(self) -> int:
            return len(self.pixels)

        def __getitem__(self, row: int) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(self.pixels[row].transpose(2, 0, 1)))

    torch_fidelity.register_feature_extractor(NETWORK, Extractor)
    settings: dict[str, Any] = {} if args.batch_size is None else {"batch_size": args.batch_size}
    if cached:
        settings |= {"cache_root": "fidelity_cache", "input2_cache_name": "real"}
    found = torch_fidelity.calculate_metrics(
        input1=Images("fake"), input2=Images("real"), feature_extractor=NETWORK, isc=True, fid=fd, kid=True, prc=True,
        kid_subset_size=args.kid_subset_size, cuda=False, verbose=False, cache=cached, **settings,
    )  # fmt: skip
    names = {
        "fd": "frechet_inception_distance",
        "is": "inception_score_mean",
        "kid": "kernel_inception_distance_mean",
        "precision": "precision",
        "recall": "recall",
    }
    return {name: found[key] for name, key in names.items() if key in found}


def child(args: argparse.Namespace) -> None:
    """Run one contender; write what it found to result.json."""
    set_threads(args.threads)
    work: dict[str, Callable[[], Any]] = {
        "prepare": lambda: prepare(args),
        "selfguide, nothing cached": lambda: selfguide_scores(args),
        "selfguide": lambda: selfguide_cached_scores(args, "train"),
        "selfguide, whole stage": lambda: selfguide_cached_scores(args, "heldout"),
        "clean-fid + torch-fidelity": lambda: {"fd": clean_fid_distance(args)} | torch_fidelity_scores(args, fd=False),
        "torch-fidelity": lambda: torch_fidelity_scores(args),
        "torch-fidelity, cached": lambda: torch_fidelity_scores(args, cached=True),
    }
    Path("result.json").write_text(json.dumps(work[args.child]()))


def spawn(name: str, batch_size: int | None, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run `child` in `folder`, and measure the process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", name, "--num", str(args.num)]
    command += ["--size", str(args.size), "--threads", str(args.threads)]
    command += ["--kid-subset-size", str(args.kid_subset_size)]
    command += [] if batch_size is None else ["--batch-size", str(batch_size)]
    environment = os.environ | {
        name: str(args.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    environment |= {"SELFGUIDE_PROGRESS": "0", "SELFGUIDE_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory(dir=folder) as scratch, open(folder / "log", "w") as log:
        environment["DVC_ROOT"] = scratch  # else a run could go on from the rows of one that was killed
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name}: exit status {process.returncode}\n{(folder / 'log').read_text()}")
    scores = json.loads((folder / "result.json").read_text())
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss * unit / 1e6,
        "scores": scores,
    }


def best_batch_size(args: argparse.Namespace, folder: Path) -> int:
    """The fastest for torch-fidelity on fewer images."""
    few = argparse.Namespace(**vars(args) | {"num": min(args.num, args.probe)})
    few.kid_subset_size = min(args.kid_subset_size, few.num)
    few_folder = folder / "probe"
    few_folder.mkdir()
    spawn("prepare", None, few, few_folder)
    walls = {size: spawn("torch-fidelity", size, few, few_folder)["wall"] for size in BATCH_SIZES}
    print("batch size probe, torch-fidelity:", ", ".join(f"{size}: {wall:.1f} s" for size, wall in walls.items()))
    return min(walls, key=lambda size: walls[size])


def compare(runs: dict[str, list[dict[str, Any]]], num: int) -> list[str]:
    """Lines of a table of scores; states what differs by more than rounding."""
    lines = ["| scores | " + " | ".join(SCORES) + " |", "|---" * (len(SCORES) + 1) + "|"]
    first_name = next(iter(runs))
    first = runs[first_name][0]["scores"]
    wrong = []
    for name, found in runs.items():
        scores = found[0]["scores"]
        lines.append(f"| {name} | " + " | ".join(f"{scores[key]:.6g}" for key in SCORES) + " |")
        for key in SCORES:
            apart = abs(scores[key] - first[key])
            allowed = TOLERANCE[key] * abs(first[key]) if key in TOLERANCE else 2 / num
            if apart > allowed:
                wrong.append(f"{key} of {name} differs from that of {first_name} by {apart:.3g}")
    verdict = "; ".join(wrong) + "." if wrong else "They agree: FD and IS to 1e-4, KID to 1e-3, P and R to two images."
    return [*lines, "", verdict]


def timings(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Lines of the table of costs."""
    lines = ["| contender | wall, median (least) | CPU | peak memory |", "|---|---|---|---|"]
    for name, found in runs.items():
        walls = [one["wall"] for one in found]
        cpu, memory = (statistics.median(one[key] for one in found) for key in ("cpu", "memory"))
        lines.append(
            f"| {name} | {statistics.median(walls):.1f} s ({min(walls):.1f} s) | {cpu:.0f} s | {memory:.0f} MB |"
        )
    return lines


def ratios(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Each of ours against the faster setting of each peer."""
    lines = []
    for name, found in runs.items():
        if name not in CONTENDERS or name in PEERS:
            continue
        parts = []
        for peer in PEERS:
            variants = [other for label, other in runs.items() if label.split(";")[0] == peer]
            if not variants:
                continue
            best = min(variants, key=lambda other: statistics.median(one["wall"] for one in other))
            wall, memory = (
                statistics.median(one[key] for one in best) / statistics.median(one[key] for one in found)
                for key in ("wall", "memory")
            )
            parts.append(f"{peer} {wall:.2f}x the time and {memory:.2f}x the memory")
        lines.append(f"- Against **{name}**: {'; '.join(parts)}.")
    return lines


def report(runs: dict[str, list[dict[str, Any]]], args: argparse.Namespace) -> list[str]:
    head, first = section(
        f"Metrics: scoring {args.num:,} images of {args.size} px against {args.num:,}",
        "benchmarks/metrics.py",
        f"{args.threads} core(s) of {cpu_model()}",
        ("torch", "numpy", "scipy", "clean-fid", "torch-fidelity"),
        args.date,
    )
    return [
        head,
        f"{first} Contenders took turns, {args.repeats} x each; whole processes, imports included. "
        "Memory is that of the largest process of a run: peers' loader processes are not added up. KID is the mean of "
        f"100 subsets of {args.kid_subset_size}, precision and recall are those of k = 3 on all images, for everyone.",
        "",
        *timings(runs),
        "",
        *(f"- *{name}*: {what}." for name, what in CONTENDERS.items() if name in args.contenders),
        "",
        "The time and memory of peers, the faster setting of each, as multiples of ours (medians):",
        "",
        *ratios(runs),
        "",
        *compare(runs, args.num),
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=10_000, help="images, fake and real each (default: %(default)s)")
    parser.add_argument("--size", type=int, default=32, help="side in pixels (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender (default: %(default)s)")
    parser.add_argument("--kid-subset-size", type=int, default=1000, help="of KID's 100 subsets (default: %(default)s)")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS, metavar="NAME",
                        help=f"which to run, of {', '.join(map(repr, CONTENDERS))} (default: all)")  # fmt: skip
    parser.add_argument("--best-only", action="store_true", help="peers at their fastest batch size only")
    parser.add_argument("--probe", type=int, default=640, help="images to find the best batch size by")
    parser.add_argument("--date", default=datetime.date.today().isoformat(), help="stands in the report")
    parser.add_argument("--out", metavar="FILE", help="append the report to a Markdown file, too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        best = best_batch_size(args, folder)
        spawn("prepare", None, args, folder)
        if "torch-fidelity, cached" in args.contenders:
            spawn("torch-fidelity, cached", best, args, folder)  # fills its cache
        at_default = set(args.contenders) - {"torch-fidelity, cached"} - set(PEERS if args.best_only else ())
        plan: list[tuple[str, str, int | None]] = [(name, name, None) for name in args.contenders if name in at_default]
        plan += [(f"{name}; batches of {best}", name, best) for name in PEERS if name in args.contenders]
        runs: dict[str, list[dict[str, Any]]] = {label: [] for label, _, _ in plan}
        for _ in range(args.repeats):
            for label, name, batch_size in plan:
                found = spawn(name, batch_size, args, folder)
                runs[label].append(found)
                print(f"{label}: {found['wall']:.1f} s, {found['memory']:.0f} MB", flush=True)
    publish(report(runs, args), args.out)


if __name__ == "__main__":
    main()
