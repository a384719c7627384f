"""Fidelity by condition id: which clusters (or classes) the model draws badly, or takes for another."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.target import begins_with, replacing_file
from selfguide.metrics.kernel import kernel_distance

COLUMNS = ("id", "num_real", "num_samples", "kid", "agreement", "agreement_real")


@dataclass(frozen=True)
class PerCluster:
    """One row per condition id G, worst first: by falling kid, those without one last, equal ones by id.

    Attributes:
        id: int64 (G,), every id that a sample or a real image has; -1 is the null condition.
        num_real: int64 (G,), real images of the id.
        num_samples: int64 (G,), samples that were asked for it.
        kid: float64 (G,), exact unbiased kernel distance of these samples to these real images, about 0 (also below it)
            for perfect ones whatever their number; NaN with fewer than 2 of either. Of few images it is noisy: a small
            cluster leads the table by chance more easily than a large one. There is no Frechet distance here, whose
            bias at such numbers exceeds any difference.
        agreement: float64 (G,), share of these samples whose nearest real image has the id; NaN without samples or for
            the null condition, which asks for none.
        agreement_real: float64 (G,), the same for the real images of the id, each compared with all others. No more can
            be expected of samples: clusters overlap.
    """

    id: NDArray[np.int64]
    num_real: NDArray[np.int64]
    num_samples: NDArray[np.int64]
    kid: NDArray[np.float64]
    agreement: NDArray[np.float64]
    agreement_real: NDArray[np.float64]

    def save_csv(self, path: str | Path) -> None:
        """Write the columns under their names; numbers to 6 significant digits, NaN as an empty field."""
        ours = begins_with(",".join(COLUMNS).encode())
        with replacing_file(path, ours) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True):
                writer.writerow(
                    "" if value != value else value if isinstance(value, int) else f"{value:.6g}" for value in row
                )


def agreement(ids: Array, nearest_ids: Array) -> float:
    """Share of images whose nearest real image has their own id.

    Args:
        ids: (M,) id that each image was asked for, or has; those with -1, the null condition, are left out. (M, L) of
            images with several ids, which count one by one.
        nearest_ids: (M,) or (M, L), ids of its nearest real image, other than itself.

    Returns:
        0..1, or NaN when every id is -1.
    """
    ids, nearest_ids = _sets(ids), _sets(nearest_ids)
    asked = ids >= 0
    found = (ids[:, :, None] == nearest_ids[:, None]).any(axis=2)
    return float(found[asked].mean()) if asked.any() else float("nan")


def per_cluster(
    fake_features: Array,
    fake_ids: Array,
    real_features: Array,
    real_ids: Array,
    nearest_indices: Array,
    real_nearest_indices: Array,
) -> PerCluster:
    """Compare the samples of each condition id with the real images of that id.

    Args:
        fake_features: floating point (M, D).
        fake_ids: (M,) integer, the id that each sample was asked for; (M, L), -1 behind the last, of images with
            several: they count for each.
        real_features: floating point (N, D).
        real_ids: (N,) or (N, L) integer.
        nearest_indices: (M,) row of the real image nearest to each sample.
        real_nearest_indices: (N,) row of the real image nearest to each real image, other than itself.

    Raises:
        UserError: lengths or widths differ, or NaN.
    """
    for what, ids, others in (
        ("samples", fake_ids, (fake_features, nearest_indices)),
        ("real images", real_ids, (real_features, real_nearest_indices)),
    ):
        found = [len(other) for other in others]
        if found != [len(ids)] * 2:
            raise UserError(f"{what}: expected features and nearest images of {len(ids)} ids, found {found}")
    pairs = _pairs(fake_ids), _pairs(real_ids)
    every = np.union1d(pairs[0][1], pairs[1][1])
    fake_rows, real_rows = (np.split(rows, np.searchsorted(values, every[1:])) for rows, values in pairs)
    kid = np.full(len(every), np.nan)
    for group, (fake, real) in enumerate(zip(fake_rows, real_rows, strict=True)):
        if min(len(fake), len(real)) >= 2:
            kid[group] = kernel_distance(fake_features[fake], real_features[real], subsets=None)
    order = np.lexsort((every, -kid))  # NaN sorts last
    return PerCluster(
        id=every[order],
        num_real=np.array([len(rows) for rows in real_rows])[order],
        num_samples=np.array([len(rows) for rows in fake_rows])[order],
        kid=kid[order],
        agreement=_shares(every, fake_rows, real_ids[nearest_indices])[order],
        agreement_real=_shares(every, real_rows, real_ids[real_nearest_indices])[order],
    )


def _sets(ids: Array) -> Array:
    return ids if ids.ndim == 2 else ids[:, None]


def _pairs(ids: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every image with each of its ids, or with -1 where it has none: rows and ids, sorted by id."""
    sets = _sets(ids)
    has = sets >= 0
    has[:, 0] |= ~has.any(axis=1)
    rows, places = np.nonzero(has)
    values = sets[rows, places]
    order = np.argsort(values, kind="stable")
    return rows[order], values[order].astype(np.int64)


def _shares(every: NDArray[np.int64], rows: list[NDArray[np.int64]], nearest_ids: Array) -> NDArray[np.float64]:
    ids = (np.full(len(group), value) for value, group in zip(every, rows, strict=True))
    return np.array([agreement(asked, nearest_ids[group]) for asked, group in zip(ids, rows, strict=True)])
