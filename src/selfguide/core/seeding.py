"""Seeds derived from names and counters, so that no two uses of one user seed share a random stream."""

import hashlib

import numpy as np


def derive_seed(seed: int, *path: str | int) -> int:
    """Hash (seed, path...) to 63 bits: equal everywhere, independent of process, order and machine."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *path: str | int) -> np.random.Generator:
    """A numpy generator of the stream named by `path`, e.g. `numpy_generator(seed, "split")`."""
    return np.random.default_rng(derive_seed(seed, *path))
