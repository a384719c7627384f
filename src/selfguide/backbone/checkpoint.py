"""Files of weights: fetched once, and read without running code."""

import os
import pickle
import re
import shlex
import socket
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import torch
from safetensors.torch import load_file

from selfguide.core import environment
from selfguide.core.errors import UserError

#: Seconds to wait for a host before saying that it cannot be reached.
_PATIENCE = 5.0
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".tar", ".bin")
#: How files begin that are saved under a checkpoint's name and are none, in lower case, and what they are.
_COMPRESSED = "is compressed; unpack it"
_NO_CHECKPOINTS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file; run `git lfs pull` where it comes from",
    b"<": "is a web page, not the file; fetch it again, by an address that ends in the file's name",
    b"{": "is a JSON text; of a checkpoint in several files, join the files into one and give that",
    b"\x1f\x8b": _COMPRESSED,
    b"bzh": _COMPRESSED,
    b"\xfd7zxz": _COMPRESSED,
    b"\x28\xb5\x2f\xfd": _COMPRESSED,
    b"7z\xbc\xaf": _COMPRESSED,
    b"\x89hdf": "is an HDF5 file, as of Keras; expected PyTorch's or a safetensors file",
    b"\x93numpy": "is a numpy array; expected PyTorch's or a safetensors file",
}


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
            _reach(environment.text("HF_ENDPOINT") or "https://huggingface.co")
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


def read_checkpoint(path: str | Path) -> Mapping[str, Any]:
    """Read a .safetensors or torch file, told by its content; nothing in it is executed.

    Returns:
        Names => tensors, plain values, a `Foreign` for an object of any other class, or mappings of these.

    Raises:
        UserError: missing, damaged, no checkpoint, or one that cannot be read without running code.
    """
    try:
        path = _existing(path)
        with path.open("rb") as file:
            head = file.read(512)
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
            return dict(load_file(path))
        if not head.startswith((b"PK\x03\x04", b"\x80")):
            raise _refused(path, _description(head, path.suffix))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if not any(name.endswith("data.pkl") for name in names):
                raise _refused(path, f"is a zip archive of other files; unpack it. It holds {some(names)}")
        content = _load(path)
    except UserError:
        raise
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged file can raise anything
        raise _refused(path, f"is not a whole checkpoint ({_line(error)}); fetch it again") from None
    if isinstance(content, Foreign):
        return {"": content}
    if not isinstance(content, Mapping):
        raise _refused(path, f"holds a {type(content).__name__}, expected a state dict")
    return content


def _refused(path: str | Path, why: str) -> UserError:
    return UserError(f"backbone.checkpoint: {path} {why}")


def _existing(path: str | Path) -> Path:
    try:
        path = Path(path).expanduser()
    except RuntimeError as error:  # ~ of a user whom nobody knows
        raise _refused(path, f"is missing ({error})") from None
    if path.is_dir():
        within = sorted(p.name for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
        raise _refused(path, "is a folder; give the file of weights in it" + (f": {some(within)}" if within else ""))
    if not path.is_file():
        raise _refused(path, "is no regular file" if path.exists() else "is missing")
    return path


def _description(head: bytes, suffix: str) -> str:
    """What a file seems to be that is no checkpoint, from its first bytes."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, what in _NO_CHECKPOINTS.items():
        if text.startswith(start):
            return what
    if head[257:262] == b"ustar":
        return "is a tar archive of other files; unpack it, and give the file of weights in it"
    if suffix.lower() not in _SUFFIXES:
        return f"has the unknown type '{suffix}'; valid: {', '.join(_SUFFIXES)}"
    if not head:
        return "is empty; fetch it again"
    return f"is neither a PyTorch nor a safetensors file: it begins with {head[:12]!r}"


class Foreign:
    """Stands for an object whose class is neither torch's nor a plain one: holds its state, and none of its code.

    Attributes:
        state: what was pickled of it; of a module, its tensors and sub-modules are in there.
    """

    state: Any = None

    def __new__(cls, *_: Any) -> "Foreign":
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _load(path: Path) -> Any:
    """`torch.load` of weights only, with a `Foreign` in place of every class beside them."""
    foreign: dict[str, type[Foreign]] = {}
    while True:
        allowed = torch.serialization.safe_globals([(kind, name) for name, kind in foreign.items()])
        try:
            # Opened here: torch goes by the name of a path. Its warnings are of what becomes an error below.
            with allowed, path.open("rb") as file, warnings.catch_warnings(action="ignore"):
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            reason = str(error.__context__ or error)  # without torch's advice
            asked = re.search(r"GLOBAL (\S+) was not an allowed global", reason)
            name = "" if asked is None else asked[1] if "." in asked[1] else f"builtins.{asked[1]}"
            if not name or name in foreign:
                raise _unreadable(path, reason) from None
            foreign[name] = type(name.rpartition(".")[2], (Foreign,), {})
        except RuntimeError as error:
            if "TorchScript" not in str(error):
                raise
            raise _unreadable(path, "a TorchScript archive") from None


#: Run by the command in the message: writes the tensors of one file, by their names, to another. No single quotes.
_KEEP_TENSORS = (
    'import sys, torch; plain = lambda x: x.state_dict() if hasattr(x, "state_dict") else x; '
    "keep = lambda x: x.detach() if torch.is_tensor(x) else "
    '{k: keep(plain(v)) for k, v in x.items() if torch.is_tensor(v) or hasattr(plain(v), "items")}; '
    'torch.save(keep(plain(torch.load(open(sys.argv[1], "rb"), map_location="cpu", weights_only=False))), sys.argv[2])'
)


def _unreadable(path: Path, reason: str) -> UserError:
    if "is blocked" in reason:
        return _refused(path, f"asks for code of the operating system, as no checkpoint has to; not read ({reason})")
    names = f"{shlex.quote(str(path))} {shlex.quote(f'{path.stem}.tensors.pth')}"
    return _refused(
        path,
        f"is damaged, or cannot be read without running code that it names ({reason}). If you trust who made it, keep"
        " its tensors alone, and set backbone.checkpoint to the file that this command writes:"
        f"\npython -c '{_KEEP_TENSORS}' {names}",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def some(names: Sequence[str], most: int = 8) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f", ... ({len(names) - most} more)" if len(names) > most else "")
