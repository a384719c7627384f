"""Where the work runs: devices, nodes and precision of every Lightning Trainer, from the environment.

These knobs change no result beyond the order of additions, so they are not parameters and rerun nothing:

    SELFGUIDE_ACCELERATOR   auto (default), cpu, gpu, ...
    SELFGUIDE_DEVICES       auto (default: every GPU, or one CPU process), or a number of processes
    SELFGUIDE_NUM_NODES     1 (default), or the number of machines
    SELFGUIDE_PROGRESS      1 (default) or 0: progress bars

Under torchrun and srun the numbers of processes and machines are those of the launcher.
"""

import logging
import os
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies import DDPStrategy

from selfguide.core.config import Precision
from selfguide.core.errors import UserError
from selfguide.core.hardware import accelerator, fast_bf16
from selfguide.core.interrupt import installed, raise_on_signals
from selfguide.core.peers import watch_peers
from selfguide.core.progress import progress
from selfguide.core.states import WholeStates


def _positive(name: str) -> int:
    text = os.environ.get(name, "1")
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"environment variable {name}: expected a whole number from 1, found '{text}'")
    return int(text)


def _launched() -> tuple[int, int] | None:
    """Processes per machine and machines, where torchrun or srun started this process."""
    if TorchElasticEnvironment.detect():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    if SLURMEnvironment.detect():
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return None


def _processes() -> tuple[int | str, int]:
    """Processes per machine ("auto": every GPU, or one on a CPU) and machines.

    Lightning itself would let every process of a launcher train on its own and write over the others' outputs.
    """
    devices: int | str = os.environ.get("SELFGUIDE_DEVICES", "auto")
    if devices != "auto":
        devices = _positive("SELFGUIDE_DEVICES")
    nodes, launched = _positive("SELFGUIDE_NUM_NODES"), _launched()
    if launched is None:
        return devices, nodes
    if devices not in ("auto", launched[0]) or ("SELFGUIDE_NUM_NODES" in os.environ and nodes != launched[1]):
        raise UserError(
            f"SELFGUIDE_DEVICES={devices}, SELFGUIDE_NUM_NODES={nodes}: torchrun or SLURM started {launched[0]} process"
            f"(es) on each of {launched[1]} machine(s); leave both unset. Inside a SLURM job but without srun, set"
            " SLURM_JOB_NAME=interactive"
        )
    return launched


def barrier() -> None:
    """Wait for the other ranks, where there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


_LOG = logging.getLogger(__name__)


class _Watch(pl.Callback):
    """Ranks watch each other, and signals stay ours: Lightning takes SIGTERM as it begins to run."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        watch_peers(trainer.global_rank, trainer.world_size)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _take_signals_back()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _take_signals_back()


def _take_signals_back() -> None:
    if installed():
        raise_on_signals()


def resolve_precision(precision: Precision) -> str:
    """Lightning's name of a precision: what `auto` stands for on this hardware, anything else as it is."""
    if precision != "auto":
        return precision
    fast, hardware = fast_bf16()
    chosen = "bf16-mixed" if fast else "32-true"
    _LOG.info("precision auto: %s (%s %s fast bf16)", chosen, hardware, "has" if fast else "has no")
    return chosen


def trainer(precision: Precision = "32-true", **settings: Any) -> pl.Trainer:
    """A quiet Lightning Trainer on the devices that the environment names.

    Args:
        precision: see `selfguide.core.config.Precision`.
        settings: passed to `pl.Trainer`; what is given here wins, but for callbacks, which are added.

    Raises:
        UserError: the environment asks for devices that are not there.
    """
    devices, nodes = _processes()
    several = nodes > 1 or (isinstance(devices, int) and devices > 1)
    defaults: dict[str, Any] = {
        "accelerator": accelerator(),
        "devices": devices,
        "num_nodes": nodes,
        "strategy": DDPStrategy(gradient_as_bucket_view=True, static_graph=True) if several else "auto",
        "precision": resolve_precision(precision),
        "benchmark": True,  # cuDNN picks its kernels by trial: shapes never change within a stage
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": progress(),
        "use_distributed_sampler": False,
        "plugins": WholeStates(),
    }
    settings["callbacks"] = [_Watch(), *settings.get("callbacks", [])]
    try:
        return pl.Trainer(**{**defaults, **settings})
    except MisconfigurationException as error:
        raise UserError(f"{error} (SELFGUIDE_ACCELERATOR={accelerator()}, SELFGUIDE_DEVICES={devices})") from None
