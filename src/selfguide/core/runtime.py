"""Where the work runs: devices, nodes and precision of every Lightning Trainer, from the environment.

These knobs change no result beyond the order of additions, so they are not parameters and rerun nothing:

    SELFGUIDE_ACCELERATOR   auto (default), cpu, gpu, ...
    SELFGUIDE_DEVICES       auto (default: every GPU, or one CPU process), or a number of processes
    SELFGUIDE_NUM_NODES     1 (default), or the number of machines (launch with torchrun or SLURM)
    SELFGUIDE_PROGRESS      1 (default) or 0: progress bars
"""

import os
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies import DDPStrategy

from selfguide.core.errors import UserError


def _positive(name: str) -> int:
    text = os.environ.get(name, "1")
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"environment variable {name}: expected a whole number from 1, found '{text}'")
    return int(text)


def barrier() -> None:
    """Wait for the other ranks, where there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def progress() -> bool:
    """Whether progress bars are wanted."""
    return os.environ.get("SELFGUIDE_PROGRESS", "1") != "0"


def trainer(**settings: Any) -> pl.Trainer:
    """A quiet Lightning Trainer on the devices that the environment names.

    Args:
        settings: passed to `pl.Trainer`; what is given here wins.

    Raises:
        UserError: the environment asks for devices that are not there.
    """
    devices: str | int = os.environ.get("SELFGUIDE_DEVICES", "auto")
    if devices != "auto":
        devices = _positive("SELFGUIDE_DEVICES")
    nodes = _positive("SELFGUIDE_NUM_NODES")
    accelerator = os.environ.get("SELFGUIDE_ACCELERATOR", "auto")
    several = nodes > 1 or (isinstance(devices, int) and devices > 1)
    defaults: dict[str, Any] = {
        "accelerator": accelerator,
        "devices": devices,
        "num_nodes": nodes,
        "strategy": DDPStrategy(gradient_as_bucket_view=True) if several else "auto",
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": progress(),
        "use_distributed_sampler": False,
    }
    try:
        return pl.Trainer(**{**defaults, **settings})
    except MisconfigurationException as error:
        raise UserError(f"{error} (SELFGUIDE_ACCELERATOR={accelerator}, SELFGUIDE_DEVICES={devices})") from None
