"""Time of k-means against faiss and scikit-learn, at equal objective.

    python benchmarks/kmeans.py --rounds 2
    python benchmarks/kmeans.py --features data/features/features.npy --ks 100 400

Each run is a process of its own, with as many threads as torch.get_num_threads() says; contenders take turns. Timed is
the call alone: for peers, with points that are normalised already; for selfguide, normalising is part of the call.
All fit on all points with as many iterations, from the same first centroids where the contender draws none of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from harness import Time, clock, cpu_model, in_turn, median, publish, section, table

SEED = 0
CONTENDERS = ("selfguide", "faiss", "scikit-learn")


def mixture(num: int, width: int, classes: int = 1000) -> np.ndarray:
    """Stand-in for features of a self-supervised network: (num, width) float32 of unit length.

    Points scatter about 1000 centres as far as the centres about their mean, which itself is common to all (the cosine
    of two points averages 0.25); the variance of axis i is proportional to 1 / i. So classes overlap, and k-means is
    far from converged after 20 iterations.
    """
    rng = np.random.default_rng(SEED)
    deviation = np.arange(1, width + 1) ** -0.5
    deviation /= np.linalg.norm(deviation)
    centers = rng.standard_normal((classes, width)) * deviation
    points = 0.8 / np.sqrt(width) + centers[rng.integers(0, classes, num)]
    points += rng.standard_normal((num, width)) * deviation
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def inertia(points: np.ndarray, centroids: np.ndarray, ids: np.ndarray) -> float:
    """Sum of squared distances, in float64."""
    return sum(
        float(np.square(points[i : i + 4096] - centroids[ids[i : i + 4096]], dtype=np.float64).sum())
        for i in range(0, len(points), 4096)
    )


def run(contender: str, path: str, k: int, iterations: int) -> dict[str, float]:
    """Cluster once, in this process, which imports the contender alone."""
    features = np.load(path, mmap_mode="r")
    points = np.ascontiguousarray(features / np.linalg.norm(features, axis=1, keepdims=True), dtype=np.float32)
    with np.load(f"{path}.first.npz") as chosen:
        first, seed, draws = points[chosen["rows"]], int(chosen["faiss_seed"]), bool(chosen["faiss_draws"])
    os.environ["SELFGUIDE_PROGRESS"] = "0"
    if contender == "selfguide":
        from selfguide.clusters.kmeans import kmeans

        def work() -> None:
            result = kmeans(features, k, SEED, iterations, num_redo=1, max_points_per_centroid=None)
            found.update(ids=result.ids, centroids=result.centroids)

    elif contender == "faiss":
        import faiss

        def work() -> None:
            estimator = faiss.Kmeans(points.shape[1], k, niter=iterations, nredo=1, seed=seed,
                                     min_points_per_centroid=1, max_points_per_centroid=len(points))  # fmt: skip
            estimator.train(points, init_centroids=None if draws else first)
            found.update(ids=estimator.assign(points)[1], centroids=estimator.centroids)

    else:
        from sklearn.cluster import KMeans

        def work() -> None:
            model = KMeans(k, init=first, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd").fit(points)
            found.update(ids=model.labels_, centroids=model.cluster_centers_)

    found: dict[str, np.ndarray] = {}
    time = clock(work)
    return {"wall": time.wall, "cpu": time.cpu, "inertia": inertia(points, found["centroids"], found["ids"])}


def main() -> None:
    """Run every contender in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ks", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--num", type=int, default=50_000, help="points of the mixture (default: %(default)s)")
    parser.add_argument("--width", type=int, default=384, help="of a point of the mixture (default: %(default)s)")
    parser.add_argument("--features", help="a .npy (N, D) float32 to cluster instead of the mixture")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each; at most 2 for k >= 5000")
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--out", help="file to append the report to")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        contender, path, k = args.child
        print(json.dumps(run(contender, path, int(k), args.iterations)))
        return
    import torch

    from selfguide.clusters.kmeans import FAISS_K, first_rows
    from selfguide.core.seeding import derive_seed

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/points.npy"
        np.save(path, np.load(args.features) if args.features else mixture(args.num, args.width))
        shape = np.load(path, mmap_mode="r").shape
        rows = []
        for k in args.ks:
            inertias: dict[str, float] = {}
            first = first_rows(shape[0], k, SEED, redo=0)
            faiss_seed = derive_seed(SEED, "clusters") % 2**31
            np.savez(f"{path}.first.npz", rows=first, faiss_seed=faiss_seed, faiss_draws=k <= FAISS_K)

            def turn(contender: str, k: int = k, inertias: dict[str, float] = inertias) -> Time:
                command = [sys.executable, __file__, "--iterations", str(args.iterations), "--child", contender, path]
                done = subprocess.run([*command, str(k)], check=True, capture_output=True, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                inertias[contender] = found["inertia"]
                return Time(found["wall"], found["cpu"])

            rounds = min(args.rounds, 2) if k >= 5000 else args.rounds
            times = in_turn({name: (lambda name=name: turn(name)) for name in args.contenders}, rounds, warm_up=0)
            ours = median(times[args.contenders[0]])
            for name, taken in times.items():
                time = median(taken)
                least = min(t.wall for t in taken)
                rows.append(
                    [str(k), name, f"{time.wall:.2f} s ({least:.2f} s)", f"{time.cpu:.2f} s"]
                    + [f"{time.wall / ours.wall:.2f}", f"{time.cpu / ours.cpu:.2f}", f"{inertias[name]:.1f}"]
                )
    title = f"k-means: {shape[0]:,} points of {shape[1]} dimensions, {args.iterations} iterations"
    hardware = f"{torch.get_num_threads()} thread(s) of {cpu_model()}"
    lines = section(title, "benchmarks/kmeans.py", hardware, ["torch", "faiss-gpu", "scikit-learn", "numpy"])
    data = f"`{Path(args.features).name}`" if args.features else "a mixture of 1000 overlapping Gaussians (`mixture`)"
    lines[-1] += (
        f" Points: {data}. Contenders took turns, a process each, {args.rounds} x (twice at most from k = 5000); "
        "ratios are theirs to ours."
    )
    columns = ["k", "contender", "wall, median (least)", "processor", "wall ratio", "processor ratio", "inertia"]
    publish([*lines, "", *table(columns, rows)], args.out)


if __name__ == "__main__":
    main()
