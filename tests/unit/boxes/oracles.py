"""LOST and TokenCut once more, by loops over single numbers, from their definitions alone."""

import math
from typing import Any

import numpy as np


def flood(mask: list[list[bool]], seed: tuple[int, int]) -> set[tuple[int, int]]:
    """The cells that hang together with the seed, over 4 neighbours."""
    reached, queue = set(), [seed]
    while queue:
        y, x = queue.pop()
        if (y, x) in reached or not (0 <= y < len(mask) and 0 <= x < len(mask[0])) or not mask[y][x]:
            continue
        reached.add((y, x))
        queue += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return reached


def box_of(cells: set[tuple[int, int]], scales: tuple[float, float], image_hw: tuple[int, int]) -> tuple[Any, ...]:
    ys, xs = [y for y, _ in cells], [x for _, x in cells]
    x1, y1 = (max(xs) + 1) * scales[1], (max(ys) + 1) * scales[0]
    return min(xs) * scales[1], min(ys) * scales[0], min(x1, image_hw[1]), min(y1, image_hw[0])


def lost(
    keys: Any, grid: tuple[int, int], scales: Any, image_hw: tuple[int, int], k: int
) -> tuple[Any, int, set, bool]:
    """Box, seed, cells and fallback; whole numbers are exact."""
    keys = [[int(value) for value in key] for key in keys]
    n, (rows, columns) = len(keys), grid
    everything = {(y, x) for y in range(rows) for x in range(columns)}
    whole = (0, 0, image_hw[1], image_hw[0])
    if n == 1:
        return whole, 0, everything, True
    dot = [[sum(a * b for a, b in zip(keys[p], keys[q], strict=True)) for q in range(n)] for p in range(n)]
    degree = [sum(1 for q in range(n) if q != p and dot[p][q] > 0) for p in range(n)]
    order = sorted(range(n), key=lambda p: (degree[p], p))
    seed = order[0]
    voters = [q for q in order[:k] if dot[seed][q] > 0]
    if not voters:
        return whole, seed, everything, True
    positive = [[sum(dot[s][y * columns + x] for s in voters) > 0 for x in range(columns)] for y in range(rows)]
    cells = flood(positive, divmod(seed, columns))
    return box_of(cells, scales, image_hw), seed, cells, max(degree) == 0


def second_vector(keys: Any, tau: float, eps: float) -> tuple[np.ndarray, float] | None:
    """TokenCut's eigenvector by way of the normalised Laplacian, and the gap to the third.

    None where there is no one answer: at most two patches, or a cosine close to tau.
    With y = D^-1/2 z, (D - W) y = lambda D y is (I - D^-1/2 W D^-1/2) z = lambda z.
    """
    n = len(keys)
    if n < 3:
        return None
    weights = np.empty((n, n))
    for p in range(n):
        for q in range(n):
            norms = math.sqrt(sum(a * a for a in keys[p])) * math.sqrt(sum(b * b for b in keys[q]))
            cosine = sum(a * b for a, b in zip(keys[p], keys[q], strict=True)) / norms if norms else 0.0
            if abs(cosine - tau) < 1e-5:
                return None
            weights[p, q] = 1.0 if cosine > tau else eps
    roots = np.sqrt(weights.sum(axis=1))
    values, vectors = np.linalg.eigh(np.eye(n) - weights / roots[:, None] / roots)
    return vectors[:, 1] / roots, float(values[2] - values[1])


def token_cut(
    vector: np.ndarray, grid: tuple[int, int], scales: Any, image_hw: tuple[int, int]
) -> tuple[Any, int, set]:
    """Box, seed and cells from the eigenvector."""
    mean = sum(vector) / len(vector)
    seed = max(range(len(vector)), key=lambda p: (abs(vector[p]), -p))
    above = [value > mean for value in vector]
    side = [value == above[seed] for value in above]
    columns = grid[1]
    cells = flood([side[start : start + columns] for start in range(0, len(side), columns)], divmod(seed, columns))
    return box_of(cells, scales, image_hw), seed, cells
