"""States of a training that a killed run goes on from: written whole, and looked at before they are trusted."""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from selfguide.core.target import replacing_file

_LOG = logging.getLogger(__name__)
#: Key of a state that says to which run it belongs: the name of its scratch folder, a fingerprint.
_RUN = "selfguide_run"
_NEEDED = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", _RUN}

State = dict[str, Any]


class WholeStates(TorchCheckpointIO):
    """Lightning's files of states, written beside their place and renamed.

    Lightning itself writes into the folder for temporary files, whose disk may be another one, and copies from there.
    """

    def save_checkpoint(self, checkpoint: State, path: Any, storage_options: Any | None = None) -> None:
        """Write a state."""
        with replacing_file(path, lambda _: True) as temporary, temporary.open("wb") as file:
            try:
                torch.save({**checkpoint, _RUN: Path(path).parent.name}, file)
            except RuntimeError as error:  # how torch tells of a write that failed
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def state_to_resume(
    path: Path, module: pl.LightningModule, check: Callable[[State], str] = lambda state: ""
) -> Path | None:
    """The state that a killed run left, if there is one to go on from.

    One that is damaged (cut, empty, of another run or network) is named in a warning, and the training starts over.
    Every rank looks for itself, and finds the same.

    Args:
        path: of the state, in the run's scratch folder.
        module: whose state it should be.
        check: says what else is wrong with it, or "".
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            fault = f"its part {part} is damaged" if (part := file.testzip()) else ""
        state = torch.load(path, map_location="cpu", weights_only=True)
        fault = fault or _fault(state, path, module) or check(state)
    except Exception as error:  # noqa: BLE001 (a damaged file gives errors of many kinds)
        fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if not fault:
        return path
    _LOG.warning("%s: no state to go on from (%s); the training starts over", path, fault)
    return None


def _fault(state: Any, path: Path, module: pl.LightningModule) -> str:
    if not isinstance(state, dict) or not state.keys() >= _NEEDED:
        return "not the state of a training"
    if state[_RUN] != path.parent.name:
        return "that of another run"
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    if {name: tensor.shape for name, tensor in state["state_dict"].items()} != shapes:
        return "that of another network"
    return ""
