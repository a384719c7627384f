"""Peak memory and time of the scores that compare all pairs: precision and its kin, KID, nearest train images.

    python benchmarks/all_pairs.py --num 50000 --width 2048

Features are random and memory-mapped from a temporary folder, as the pipeline's are; each score is its own process.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SCORES = ("manifold", "kernel", "nearest")


def run(score: str, real: Path, fake: Path) -> None:
    """Compute one score; print its wall time and the peak memory of the process."""
    import torch

    from selfguide.metrics.kernel import kernel_distance
    from selfguide.metrics.manifold import manifold_scores
    from selfguide.metrics.nearest import nearest_neighbours

    a, b = np.load(real, mmap_mode="r"), np.load(fake, mmap_mode="r")
    start = time.perf_counter()
    if score == "manifold":
        manifold_scores(a, b, 3)
    elif score == "kernel":
        kernel_distance(a, b, subsets=None)
    else:
        nearest_neighbours(b, a, 5)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(
        f"{score}: {len(a):,} x {len(b):,}, width {a.shape[1]}: {time.perf_counter() - start:.0f} s with "
        f"{torch.get_num_threads()} thread(s), peak {peak / 1e9:.2f} GB, of which mapped features at most "
        f"{(a.nbytes + b.nbytes) / 1e9:.2f} GB",
        flush=True,
    )


def main() -> None:
    """Run every score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=50_000, help="rows of either side (default: %(default)s)")
    parser.add_argument("--width", type=int, default=2048, help="length of a feature (default: %(default)s)")
    parser.add_argument("--scores", nargs="+", default=SCORES, choices=SCORES)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        run(args.child[0], Path(args.child[1]), Path(args.child[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.npy" for name in ("real", "fake")]
        for seed, path in enumerate(paths):
            np.save(path, np.random.default_rng(seed).standard_normal((args.num, args.width), np.float32))
        for score in args.scores:
            subprocess.run([sys.executable, __file__, "--child", score, *paths], check=True)


if __name__ == "__main__":
    main()
