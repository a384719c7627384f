"""The condition of a batch, as a network takes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BatchCondition:
    """What B images are guided by; the null condition is the lack of both.

    Attributes:
        ids: int64 (B,), -1 = null; or (B, L), sets of ids, -1 = none.
        map: where the condition is in the image, 0..1, float32 (B, M, h, w), zeros = null; None: there is none.
    """

    ids: Tensor
    map: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def _each(self, of_ids: Callable[[Tensor], Tensor], of_map: Callable[[Tensor], Tensor]) -> "BatchCondition":
        return BatchCondition(of_ids(self.ids), None if self.map is None else of_map(self.map))

    def __getitem__(self, rows: Tensor | slice) -> "BatchCondition":
        return self._each(lambda ids: ids[rows], lambda maps: maps[rows])

    def to(self, device: torch.device) -> "BatchCondition":
        """On a device."""
        return self._each(lambda ids: ids.to(device), lambda maps: maps.to(device))

    def null(self) -> "BatchCondition":
        """As many null conditions."""
        return self._each(lambda ids: torch.full_like(ids, -1), torch.zeros_like)

    def is_null(self) -> bool:
        """Whether no image has a condition; waits for the device."""
        return bool((self.ids < 0).all()) and (self.map is None or not bool(self.map.any()))

    def drop(self, which: Tensor) -> "BatchCondition":
        """The null condition for the images that bool (B,) says: one draw drops ids and map together."""
        return self._each(
            lambda ids: ids.masked_fill(which.view(-1, *[1] * (ids.ndim - 1)), -1),
            lambda maps: maps.masked_fill(which[:, None, None, None], 0),
        )

    def mirror(self, which: Tensor) -> "BatchCondition":
        """The maps of the images that bool (B,) says mirrored, as the images are."""
        return self._each(lambda ids: ids, lambda maps: mirrored(maps, which))

    @staticmethod
    def concatenate(parts: Sequence["BatchCondition"]) -> "BatchCondition":
        """One after the other; all have a map, or none."""
        maps = [part.map for part in parts if part.map is not None]
        return BatchCondition(torch.cat([part.ids for part in parts]), torch.cat(maps) if maps else None)


def mirrored(maps: Tensor, which: Tensor) -> Tensor:
    """Those of (B, C, H, W) that bool (B,) says, mirrored left to right."""
    return torch.where(which[:, None, None, None], maps.flip(-1), maps)
