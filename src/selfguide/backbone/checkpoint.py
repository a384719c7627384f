"""Weights from files: read without running code, fetched once, and loaded only if every name and shape fits."""

import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from selfguide.core.errors import UserError

#: Seconds to wait for a host before saying that it cannot be reached.
_PATIENCE = 5.0
_TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".bin")


@dataclass(frozen=True)
class HubFile:
    """`model.safetensors` of a repository on the Hugging Face hub."""

    repository: str
    license: str

    @property
    def address(self) -> str:
        return f"https://huggingface.co/{self.repository}/resolve/main/model.safetensors"

    def fetch(self) -> Path:
        """Local path, from the hub's cache or downloaded into it."""
        try:
            return Path(huggingface_hub.hf_hub_download(self.repository, "model.safetensors", local_files_only=True))
        except FileNotFoundError:
            # The hub's client retries for half a minute when there is no network; ask once first.
            _reach(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
            return Path(huggingface_hub.hf_hub_download(self.repository, "model.safetensors"))


@dataclass(frozen=True)
class UrlFile:
    """A file at an address, cached where torch.hub keeps checkpoints."""

    address: str
    license: str

    def fetch(self) -> Path:
        """Local path, cached or downloaded."""
        path = Path(torch.hub.get_dir()) / "checkpoints" / self.address.rsplit("/", 1)[1]
        if not path.is_file():
            _reach(self.address)
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(self.address, str(path), progress=False)
        return path


def _reach(address: str) -> None:
    """Raise OSError at once if the host of `address` does not answer; behind a proxy only the proxy can tell."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "TRUE", "YES", "ON"}:
        raise OSError("HF_HUB_OFFLINE is set")
    if any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")):
        return
    parts = urlsplit(address)
    socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_PATIENCE).close()


def fetch(source: HubFile | UrlFile, variant: str) -> Path:
    """The variant's published file on this machine.

    Raises:
        UserError: it is neither cached nor to be had; says which file to put where.
    """
    try:
        return source.fetch()
    except Exception as error:  # each client and each of its versions has its own for a failed connection
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"backbone.variant {variant}: its weights are not on this machine and could not be downloaded ({reason}). "
            f"Download {source.address} where there is a network, copy it here, and set backbone.checkpoint to its "
            f"path; or choose a variant that needs no download: simclr_resnet18, dino_vit, efficientnet_lite0"
        ) from None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a .safetensors or torch file; nothing in it is executed.

    Raises:
        UserError: missing, damaged, of unknown type, or holding more than tensors and plain values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"backbone.checkpoint: {path} is missing")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        if path.suffix in _TORCH_SUFFIXES:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(content, Mapping):
                return dict(content)
            raise UserError(f"backbone.checkpoint: {path} holds a {type(content).__name__}, expected a state dict")
    except pickle.UnpicklingError as error:
        raise UserError(
            f"backbone.checkpoint: {path} holds Python objects beside tensors, or is damaged "
            f'({str(error).splitlines()[0]}). If you trust it, keep its tensors only: python -c "import torch; '
            f"c = torch.load('{path}', weights_only=False); "
            f"torch.save({{'state_dict': c['state_dict']}}, 'clean.pth')\""
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"backbone.checkpoint: {path} is not a whole checkpoint ({error})") from None
    raise UserError(
        f"backbone.checkpoint: {path} has the unknown type '{path.suffix}'; "
        f"valid: .safetensors, {', '.join(_TORCH_SUFFIXES)}"
    )


def tensors_under(state: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix) and isinstance(v, Tensor)}


def load_exactly(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict whose names and shapes equal the network's.

    Raises:
        UserError: lists what is missing, unexpected or of another shape.
    """
    expected = network.state_dict()
    shapes = [
        f"{name}: expected {tuple(expected[name].shape)}, found {tuple(state[name].shape)}"
        for name in expected.keys() & state.keys()
        if expected[name].shape != state[name].shape
    ]
    problems = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape": sorted(shapes),
    }
    if any(problems.values()):
        told = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)
        raise UserError(f"{where}: the weights do not fit the network; {told}")
    network.load_state_dict(state)


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names) - most} more)" if len(names) > most else "")
