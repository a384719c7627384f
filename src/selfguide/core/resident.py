"""Arrays whose rows are asked for batch by batch: kept on the GPU where it has room, else memory-mapped as they are."""

import numpy as np
import torch
from torch import Tensor

from selfguide.core.artifact import Array

_CHUNK = 65_536


class Resident:
    """Rows of an array, by number, on a device.

    Args:
        array: (N, ...), memory-mapped or not; it moves to a GPU that has three times its size free.
        device: where rows are wanted.
    """

    def __init__(self, array: Array, device: torch.device) -> None:
        self.device, self.array = device, array
        self.tensor: Tensor | None = None
        if device.type == "cuda" and 3 * array.nbytes <= torch.cuda.mem_get_info(device)[0]:
            dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
            self.tensor = torch.empty(array.shape, dtype=dtype, device=device)
            for start in range(0, len(array), _CHUNK):
                self.tensor[start : start + _CHUNK] = torch.from_numpy(np.array(array[start : start + _CHUNK]))

    def __call__(self, rows: Array | slice) -> Tensor:
        """Those rows: int64 (B,), or a slice => (B, ...)."""
        if self.tensor is None:
            found = self.array[rows]  # numbers give a copy, a slice a view of what may be read-only
            return torch.from_numpy(np.array(found) if isinstance(rows, slice) else found).to(
                self.device, non_blocking=True
            )
        if isinstance(rows, slice):
            return self.tensor[rows]
        return self.tensor[torch.from_numpy(rows).to(self.device, non_blocking=True)]
