"""Fidelity by condition id: which clusters (or classes) the model draws badly, or takes for another."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array, replacing_file
from selfguide.core.errors import UserError
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
        with replacing_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True):
                writer.writerow(
                    "" if value != value else value if isinstance(value, int) else f"{value:.6g}" for value in row
                )


def agreement(ids: Array, nearest_ids: Array) -> float:
    """Share of images whose nearest real image has their own id.

    Args:
        ids: (M,) id that each image was asked for, or has; those with -1, the null condition, are left out.
        nearest_ids: (M,) id of its nearest real image, other than itself.

    Returns:
        0..1, or NaN when every id is -1.
    """
    asked = ids >= 0
    return float((ids == nearest_ids)[asked].mean()) if asked.any() else float("nan")


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
        fake_ids: (M,) integer, the id that each sample was asked for.
        real_features: floating point (N, D).
        real_ids: (N,) integer.
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
    every = np.union1d(fake_ids, real_ids).astype(np.int64)
    fake_rows, real_rows = _rows(fake_ids, every), _rows(real_ids, every)
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
        agreement=_shares(fake_rows, fake_ids, real_ids[nearest_indices])[order],
        agreement_real=_shares(real_rows, real_ids, real_ids[real_nearest_indices])[order],
    )


def _rows(ids: Array, every: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of `ids` that equal each of `every`, which is sorted and holds them all."""
    order = np.argsort(ids, kind="stable")
    return np.split(order, np.searchsorted(ids[order], every[1:]))


def _shares(rows: list[NDArray[np.int64]], ids: Array, nearest_ids: Array) -> NDArray[np.float64]:
    return np.array([agreement(ids[group], nearest_ids[group]) for group in rows])
