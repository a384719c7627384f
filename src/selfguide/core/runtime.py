"""Where the work runs: devices, nodes and precision of every Lightning Trainer, from the environment.

See `selfguide.core.environment`. Under torchrun and srun the numbers of processes and machines are the launcher's.
"""

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies import DDPStrategy

from selfguide.core import environment
from selfguide.core.config import Precision
from selfguide.core.errors import UserError
from selfguide.core.hardware import accelerator, fast_bf16
from selfguide.core.interrupt import installed, raise_on_signals
from selfguide.core.peers import watch_peers
from selfguide.core.progress import progress
from selfguide.core.states import WholeStates

#: What errors about SLURM end with.
_WITHOUT_SRUN = "Inside a SLURM job but without srun, set SLURM_JOB_NAME=interactive"


def _needed(name: str, least: int, most: int | None = None, why: str = "the launcher sets it") -> int:
    found = environment.number(name, least, most)
    if found is None:
        raise UserError(f"environment variable {name} is not set: {why}")
    return found


def _launched() -> tuple[int, int] | None:
    """Processes per machine and machines, where torchrun or srun started this process."""
    if TorchElasticEnvironment.detect():
        total, local = _needed("WORLD_SIZE", 1), _needed("LOCAL_WORLD_SIZE", 1)
        nodes, told = total // local, f"WORLD_SIZE={total}, LOCAL_WORLD_SIZE={local}"
        places = {"RANK": total, "LOCAL_RANK": local}
    elif SLURMEnvironment.detect():
        total, nodes = _needed("SLURM_NTASKS", 1), environment.number("SLURM_NNODES") or 1
        local = environment.number("SLURM_NTASKS_PER_NODE") or (total if nodes == 1 else 0)
        told = f"SLURM_NTASKS={total}, SLURM_NNODES={nodes}, SLURM_NTASKS_PER_NODE={local or 'unset'}"
        places = {"SLURM_PROCID": total, "SLURM_NODEID": nodes, "SLURM_LOCALID": local}
    else:
        return None
    if local * nodes != total:
        raise UserError(
            f"environment variables {told}: expected as many processes on each machine; start them with"
            f" torchrun --nproc-per-node=N or srun --ntasks-per-node=N, with one N for all. {_WITHOUT_SRUN}"
        )
    if total > 1:
        for name, count in places.items():
            _needed(name, 0, count - 1)
    return local, nodes


def _processes() -> tuple[int | str, int]:
    """Processes per machine ("auto": every GPU, or one on a CPU) and machines.

    Lightning itself would let every process of a launcher train on its own and write over the others' outputs.
    """
    devices = environment.number("SELFGUIDE_DEVICES", unless="auto") or "auto"
    asked, launched = environment.number("SELFGUIDE_NUM_NODES"), _launched()
    nodes = asked or 1
    if launched is None:
        if nodes > 1:  # else each machine would be the first, or wait for one that is not there
            _needed("NODE_RANK", 0, nodes - 1, f"expected the number of this machine, 0 to {nodes - 1}")
            _needed("MASTER_PORT", 1, 65_535, "expected a free port of machine 0")
            if environment.text("MASTER_ADDR") is None:
                raise UserError("environment variable MASTER_ADDR is not set: expected the address of machine 0")
        return devices, nodes
    if devices not in ("auto", launched[0]) or asked not in (None, launched[1]):
        raise UserError(
            f"SELFGUIDE_DEVICES={devices}, SELFGUIDE_NUM_NODES={nodes}: torchrun or SLURM started {launched[0]} process"
            f"(es) on each of {launched[1]} machine(s); leave both unset. {_WITHOUT_SRUN}"
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
        UserError: the environment asks for devices that are not there, or its port for several ranks is none.
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
        found = pl.Trainer(**{**defaults, **settings})
    except MisconfigurationException as error:
        raise UserError(f"{error} (SELFGUIDE_ACCELERATOR={accelerator()}, SELFGUIDE_DEVICES={devices})") from None
    if found.world_size > 1:
        environment.number("MASTER_PORT", 1, 65_535)  # where it is unset, Lightning finds one by itself
    return found
