"""Fill arrays row by row under a Lightning predict loop: any number of ranks, order exact, resumable.

Batches are fixed slices of 0..N-1, whatever the number of ranks; rank r computes batches r, r+R, r+2R, ... and writes
its rows into memory-mapped arrays. No row is computed twice and none is missing. A killed run continues where it was.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.lib.format import open_memmap
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from selfguide.core import runtime
from selfguide.core.errors import UserError
from selfguide.core.progress import progress

#: Computes rows start..stop-1 on the network's device: (start, stop, device) => one tensor per output name.
RowFunction = Callable[[int, int, torch.device], Mapping[str, Tensor]]


class _Indices(Dataset[int]):
    def __init__(self, indices: list[int]) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> int:
        return self.indices[position]


class _Rows(pl.LightningModule):
    def __init__(
        self,
        network: nn.Module,
        function: RowFunction,
        scratch: Path,
        outputs: Mapping[str, tuple[tuple[int, ...], str]],
        spans: list[tuple[int, int]],
        description: str,
    ) -> None:
        super().__init__()
        # A rank may have nothing to do: fewer batches than ranks, or all of its own done before a kill.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.network = network
        self.function, self.scratch, self.outputs = function, scratch, outputs
        self.spans, self.description = spans, description

    def setup(self, stage: str) -> None:
        if self.trainer.is_global_zero and not (self.scratch / "ready").exists():
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(parents=True)
            total = self.spans[-1][1]
            for name, (shape, dtype) in self.outputs.items():
                open_memmap(self.scratch / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=(total, *shape))
            open_memmap(self.scratch / "done.npy", mode="w+", dtype=np.dtype(np.bool_), shape=(len(self.spans),))
            (self.scratch / "ready").touch()
        self.trainer.strategy.barrier("rows are laid out")
        self.arrays = {name: open_memmap(self.scratch / f"{name}.npy", mode="r+") for name in self.outputs}
        self.done = open_memmap(self.scratch / "done.npy", mode="r+")

    def predict_dataloader(self) -> DataLoader[int]:
        mine = range(self.trainer.global_rank, len(self.spans), self.trainer.world_size)
        left = [index for index in mine if not self.done[index]]
        rows = sum(self.spans[index][1] - self.spans[index][0] for index in left)
        self.bar = tqdm(total=rows, desc=self.description, unit="img", mininterval=1.0, leave=False,
                        disable=not (progress() and self.trainer.is_global_zero))  # fmt: skip
        return DataLoader(_Indices(left), batch_size=None)

    def predict_step(self, index: int, batch_idx: int) -> None:
        start, stop = self.spans[index]
        rows = self.function(start, stop, self.device)
        for name, array in self.arrays.items():
            array[start:stop] = rows[name].to(torch.uint8 if array.dtype == np.uint8 else torch.float32).cpu().numpy()
            array.flush()
        self.done[index] = True  # after the rows: a kill between the two repeats one batch, no more
        self.done.flush()
        self.bar.update(stop - start)

    def on_predict_end(self) -> None:
        self.bar.close()


def fill_rows(
    network: nn.Module,
    function: RowFunction,
    num_rows: int,
    outputs: Mapping[str, tuple[tuple[int, ...], str]],
    batch_size: int,
    scratch: Path,
    description: str,
    **trainer_settings: Any,
) -> Callable[[Path], None] | None:
    """Compute every row once.

    Args:
        network: module whose device and precision Lightning manages; put in eval mode.
        function: computes a batch of rows with it; called without gradients.
        num_rows: N.
        outputs: name => (shape of one row, "float32" or "uint8").
        batch_size: rows per call.
        scratch: folder for work in progress (see `selfguide.core.scratch`); rows already there are kept.
        description: word for the progress bar.
        trainer_settings: passed to the Trainer, e.g. `precision`.

    Returns:
        On rank 0, a function that moves `<name>.npy` of every output into the folder given to it and removes the
        scratch folder; None on other ranks.

    Raises:
        UserError: num_rows or batch_size below 1.
    """
    if num_rows < 1 or batch_size < 1:
        raise UserError(
            f"{description}: expected at least 1 row and batch_size >= 1, found {num_rows} and {batch_size}"
        )
    spans = [(start, min(start + batch_size, num_rows)) for start in range(0, num_rows, batch_size)]
    module = _Rows(network.eval(), function, scratch, outputs, spans, description)
    trainer = runtime.trainer(**{**trainer_settings, "enable_progress_bar": False})
    trainer.predict(module, return_predictions=False)
    trainer.strategy.barrier("rows are filled")
    if not trainer.is_global_zero:
        return None

    def move(folder: Path) -> None:
        for name in outputs:
            shutil.move(scratch / f"{name}.npy", folder / f"{name}.npy")
        shutil.rmtree(scratch)

    return move
