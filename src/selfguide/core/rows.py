"""Fill arrays row by row under a Lightning predict loop: any number of ranks, order exact, resumable.

Batches are fixed slices of 0..N-1, whatever the number of ranks; rank r computes batches r, r+R, r+2R, ... and writes
its rows into memory-mapped arrays. No row is computed twice and none is missing. A killed run continues where it was.
"""

import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
from selfguide.core.artifact import Array, create_array, open_array
from selfguide.core.errors import UserError
from selfguide.core.progress import progress
from selfguide.core.scratch import claim, discard, empty

#: Computes rows start..stop-1 on the network's device: (start, stop, device) => one tensor per output name.
RowFunction = Callable[[int, int, torch.device], Mapping[str, Tensor]]

#: Of each batch, 0 until it is done, then the checksum of its rows.
_DONE = "done"
_LOG = logging.getLogger(__name__)


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
        self.function, self.scratch = function, scratch
        self.spans, self.description = spans, description
        num_rows = spans[-1][1]
        self.layout = {name: (dtype, (num_rows, *shape)) for name, (shape, dtype) in outputs.items()}

    def setup(self, stage: str) -> None:
        if self.trainer.is_global_zero:
            claim(self.scratch)
            self._lay_out()
        self.trainer.strategy.barrier("rows are laid out")
        self.arrays = {name: open_memmap(self.scratch / f"{name}.npy", mode="r+") for name in self.layout}
        self.done = open_memmap(self.scratch / f"{_DONE}.npy", mode="r+")

    def _lay_out(self) -> None:
        """Make the arrays, or keep those of a killed run, if they are whole."""
        layout = {**self.layout, _DONE: ("uint32", (len(self.spans),))}
        if (self.scratch / "ready").exists():
            try:
                for name, (dtype, shape) in layout.items():
                    open_array(self.scratch / f"{name}.npy", dtype, shape, None)
            except UserError as error:
                _LOG.warning("%s: starts over, as what a killed run left is damaged: %s", self.description, error)
            else:
                return
        empty(self.scratch)
        for name, (dtype, shape) in layout.items():
            create_array(self.scratch / f"{name}.npy", dtype, shape)
        (self.scratch / "ready").touch()

    def predict_dataloader(self) -> DataLoader[int]:
        mine = range(self.trainer.global_rank, len(self.spans), self.trainer.world_size)
        done = [index for index in mine if self.done[index]]
        damaged = [index for index in done if self.done[index] != self._checksum(index)]
        if damaged:
            _LOG.warning("%s: %d of %d batches that a killed run left in %s are damaged, and computed again",
                         self.description, len(damaged), len(done), self.scratch)  # fmt: skip
            self.done[damaged] = 0
        left = [index for index in mine if not self.done[index]]
        rows = sum(self.spans[index][1] - self.spans[index][0] for index in left)
        self.bar = tqdm(total=rows, desc=self.description, unit="img", mininterval=1.0, leave=False,
                        disable=not (progress() and self.trainer.is_global_zero))  # fmt: skip
        return DataLoader(_Indices(left), batch_size=None)

    def _checksum(self, index: int) -> int:
        start, stop = self.spans[index]
        total = 0
        for array in self.arrays.values():
            total = zlib.crc32(np.ascontiguousarray(array[start:stop]).data, total)
        return total or 1

    def predict_step(self, index: int, batch_idx: int) -> None:
        start, stop = self.spans[index]
        rows = self.function(start, stop, self.device)
        for name, array in self.arrays.items():
            array[start:stop] = rows[name].to(torch.uint8 if array.dtype == np.uint8 else torch.float32).cpu().numpy()
            array.flush()
        self.done[index] = self._checksum(index)  # after the rows: a kill between the two repeats one batch, no more
        self.done.flush()
        self.bar.update(stop - start)

    def on_predict_end(self) -> None:
        self.bar.close()


def _wait_for_all(scratch: Path) -> None:
    """Wait for the other ranks; not at a barrier, whose patience ends: a killed run may leave all its work to one."""
    while not np.load(scratch / f"{_DONE}.npy").all():  # read anew: another machine may have written it
        time.sleep(0.5)


@dataclass(frozen=True)
class Filled:
    """The filled arrays, in the scratch folder until they are put elsewhere or read.

    Attributes:
        scratch: the folder.
        names: of the arrays.
    """

    scratch: Path
    names: tuple[str, ...]

    @contextmanager
    def __call__(self, folder: Path) -> Iterator[None]:
        """Put them into a folder, `<name>.npy` each.

        Until the `with` ends without an error they are in the scratch folder, too, so that a failure to write what
        belongs to them loses none of them.
        """
        for name in self.names:
            source, target = self.scratch / f"{name}.npy", folder / f"{name}.npy"
            try:
                os.link(source, target)
            except OSError:  # another disk, or one without hard links
                shutil.copyfile(source, target)
        yield
        discard(self.scratch)

    def only(self, *names: str) -> "Filled":
        """Those of these names; the others are never put anywhere."""
        return Filled(self.scratch, names)

    def read(self) -> dict[str, Array]:
        """The arrays by name, in memory; nothing is left of them on the disk."""
        arrays: dict[str, Array] = {name: np.load(self.scratch / f"{name}.npy") for name in self.names}
        discard(self.scratch)
        return arrays


def fill_rows(
    network: nn.Module,
    function: RowFunction,
    num_rows: int,
    outputs: Mapping[str, tuple[tuple[int, ...], str]],
    batch_size: int,
    scratch: Path,
    description: str,
    **trainer_settings: Any,
) -> Filled | None:
    """Compute every row once.

    Args:
        network: module whose device and precision Lightning manages; put in eval mode.
        function: computes a batch of rows with it; called without gradients.
        num_rows: N.
        outputs: name => (shape of one row, "float32", "float16" or "uint8").
        batch_size: rows per call.
        scratch: folder for work in progress (see `selfguide.core.scratch`); rows already there are kept.
        description: word for the progress bar.
        trainer_settings: passed to the Trainer, e.g. `precision`.

    Returns:
        On rank 0 the filled arrays; None on other ranks.

    Raises:
        UserError: num_rows or batch_size below 1; another process fills the same rows.
    """
    if num_rows < 1 or batch_size < 1:
        raise UserError(
            f"{description}: expected at least 1 row and batch_size >= 1, found {num_rows} and {batch_size}"
        )
    spans = [(start, min(start + batch_size, num_rows)) for start in range(0, num_rows, batch_size)]
    module = _Rows(network.eval(), function, scratch, outputs, spans, description)
    trainer = runtime.trainer(**{**trainer_settings, "enable_progress_bar": False})
    trainer.predict(module, return_predictions=False)
    if trainer.world_size > 1:
        _wait_for_all(scratch)
    trainer.strategy.barrier("rows are filled")
    if not trainer.is_global_zero:
        return None
    return Filled(scratch, tuple(outputs))
