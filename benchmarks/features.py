"""Rate of feature extraction, as the stage does it, against the bare network in a loop.

    python benchmarks/features.py --rounds 3

The bare network is called on batches that lie in memory; the stage reads pixels from a file, runs under Lightning's
loop and writes the features. Both take batches of one size, as many threads and one precision. Start-up is left out: of
either, the first batches are not counted.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import Time, cpu_model, in_turn, median, publish, section, table

#: Name in the report: (variant, architecture, batch size, batches).
NETWORKS = {
    "simclr_resnet18, width 16": ("simclr_resnet18", {"input_size": 32, "width": 16}, 256, 10),
    "simclr_resnet18, width 64": ("simclr_resnet18", {"input_size": 32, "width": 64}, 256, 4),
    "efficientnet_lite0": ("efficientnet_lite0", {"input_size": 224}, 64, 4),
}
SKIPPED = 1


def extraction(folder: Path, pixels: np.ndarray, size: int) -> Time:
    """Run the stage's function; time from the start of one batch to that of the last: read, compute, write."""
    from selfguide.features import extract
    from selfguide.features.config import FeaturesConfig

    starts, real = [], extract.run_network

    def recorded(network, images):
        starts.append((time.perf_counter(), time.process_time()))
        return real(network, images)

    extract.run_network = recorded
    config = FeaturesConfig(batch_size=size, precision="32-true")
    extract.extract_features(config, pixels, folder / "backbone", folder / "features")
    extract.run_network = real
    (wall, cpu), (last_wall, last_cpu) = starts[SKIPPED], starts[-1]
    scale = (len(starts) - SKIPPED) / (len(starts) - 1 - SKIPPED)
    return Time((last_wall - wall) * scale, (last_cpu - cpu) * scale)


def main() -> None:
    """Run both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--out", help="file to append the report to")
    args = parser.parse_args()
    os.environ["SELFGUIDE_PROGRESS"] = "0"
    import torch

    from selfguide.backbone.artifact import load_backbone, save_backbone
    from selfguide.backbone.registry import VARIANTS

    rows = []
    for name in args.networks:
        variant, architecture, size, batches = NETWORKS[name]
        with tempfile.TemporaryDirectory() as temporary:
            folder, home = Path(temporary), Path.cwd()
            pixels = np.random.default_rng(0).integers(0, 256, (size * batches, 32, 32, 3), dtype=np.uint8)
            np.save(folder / "pixels.npy", pixels)
            pixels = np.load(folder / "pixels.npy", mmap_mode="r")
            save_backbone(folder / "backbone", VARIANTS[variant].build(architecture), variant, architecture)
            network = load_backbone(folder / "backbone")
            resident = torch.split(torch.from_numpy(np.array(pixels)), size)
            counted = size * (batches - SKIPPED)

            @torch.inference_mode()
            def bare(network=network, resident=resident) -> Time:
                for batch in resident[:SKIPPED]:
                    network(batch)
                wall, cpu = time.perf_counter(), time.process_time()
                for batch in resident[SKIPPED:]:
                    network(batch)
                return Time(time.perf_counter() - wall, time.process_time() - cpu)

            def stage(folder=folder, pixels=pixels, size=size) -> Time:
                return extraction(folder, pixels, size)

            os.chdir(folder)
            times = {way: median(found) for way, found in
                     in_turn({"bare": bare, "stage": stage}, args.rounds, warm_up=0).items()}  # fmt: skip
            os.chdir(home)
        for way, found in times.items():
            rows.append([name, str(size), way, f"{counted / found.wall:.0f}", f"{counted / found.cpu:.0f}",
                         f"{times['bare'].wall / found.wall:.2f}"])  # fmt: skip
    hardware = f"{torch.get_num_threads()} thread(s) of {cpu_model()}"
    lines = section("Feature extraction", "benchmarks/features.py", hardware, ["torch", "pytorch-lightning", "timm"])
    lines[-1] += f" Images of 32 pixels, float32; the two ways took turns, {args.rounds} x, medians."
    columns = ["network", "batch", "way", "images per s", "images per s of processor", "rate to bare"]
    publish([*lines, "", *table(columns, rows)], args.out)


if __name__ == "__main__":
    main()
