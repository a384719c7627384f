"""Training rows per second, ready for the network: this project's batches against a torchvision DataLoader.

    python benchmarks/rows.py --out benchmarks/RESULTS.md

Both give batches of float images in [-1, 1], half of them mirrored, with an integer id each. Ours are cut from one
uint8 array, memory-mapped or in memory, and come with time steps, noise and dropped ids, which a loader leaves to the
training loop. The DataLoader holds PIL images in memory, as torchvision's CIFAR does, and applies ToTensor, Normalize
and RandomHorizontalFlip one image at a time; a turn of it begins after its workers have started.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import clock, cpu_model, in_turn, median, publish, section, set_threads, table
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from selfguide.denoiser.batches import Batches

OURS = ("selfguide, memory-mapped", "selfguide, in memory")


class Images(Dataset[Any]):
    """As torchvision.datasets.CIFAR10, without the download."""

    def __init__(self, pixels: np.ndarray, ids: np.ndarray) -> None:
        self.pixels, self.ids = pixels, ids
        steps = [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> Any:
        return self.transform(Image.fromarray(self.pixels[row])), int(self.ids[row])


def ours(pixels: np.ndarray, ids: np.ndarray, batch: int) -> Callable[[], None]:
    """Makes the next batch at each call."""
    batches = Batches(
        pixels, ids, batch_size=batch, num_timesteps=1000, drop_prob=0.1, flip=True, seed=0, rank=0, world_size=1,
        device=torch.device("cpu"),
    )  # fmt: skip
    steps = iter(range(10**9))
    return lambda: check(batches(next(steps)).x0, batch)


def loader(pixels: np.ndarray, ids: np.ndarray, batch: int, workers: int) -> Callable[[], None]:
    """Makes the next batch at each call, epoch after epoch."""
    found = DataLoader(
        Images(pixels, ids), batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )

    def forever() -> Iterator[Any]:
        while True:
            yield from found

    stream = forever()
    return lambda: check(next(stream)[0], batch)


def check(images: torch.Tensor, batch: int) -> None:
    """A contender that gives something else is out."""
    assert images.dtype == torch.float32
    assert len(images) == batch


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=50_000, help="images (default: %(default)s)")
    parser.add_argument("--size", type=int, default=32, help="side in pixels (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--batches", type=int, default=40, help="batches in a turn (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="of the DataLoader (default: 0 and 2)")
    parser.add_argument("--rounds", type=int, default=7, help="timed turns of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads (default: %(default)s)")
    parser.add_argument("--out", metavar="FILE", help="append the report to a Markdown file, too")
    args = parser.parse_args()
    set_threads(args.threads)
    draw = np.random.default_rng(0)
    ids = draw.integers(100, size=args.num).astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        pixels = draw.integers(256, size=(args.num, args.size, args.size, 3), dtype=np.uint8)
        np.save(path, pixels)
        makers = dict(
            zip(OURS, (ours(p, ids, args.batch) for p in (np.load(path, mmap_mode="r"), pixels)), strict=True)
        )
        for workers in args.workers:
            makers[f"DataLoader, {workers} workers"] = loader(pixels, ids, args.batch, workers)

        def turn(make: Callable[[], None]) -> None:
            for _ in range(args.batches):
                make()

        times = in_turn({name: lambda m=make: clock(lambda: turn(m)) for name, make in makers.items()}, args.rounds)
    rates = {name: args.batch * args.batches / median(found).wall for name, found in times.items()}
    best = max(rate for name, rate in rates.items() if name not in OURS)
    head, first = section(
        f"Data: rows of {args.size} px ready for a training step", "benchmarks/rows.py",
        f"{args.threads} core(s) of {cpu_model()}", ("torch", "torchvision", "pillow"),
    )  # fmt: skip
    rows = [[name, f"{rate:,.0f}", f"{rate / best:.1f}x"] for name, rate in rates.items()]
    publish(
        [
            head,
            f"{first} Medians of {args.rounds} turns of {args.batches} batches of {args.batch}, contenders in turn."
            " Workers go on while others have their turn, as far as their queue of two batches each lets them.",
            "",
            *table(["contender", "rows per second", "against the best loader"], rows),
        ],
        args.out,
    )


if __name__ == "__main__":
    main()
