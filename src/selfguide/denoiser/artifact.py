"""The trained denoiser on disk: weights as safetensors, and a meta.json that says how to rebuild the network.

ema.safetensors, raw.safetensors    averaged and last weights, float32
meta.json                           network, noise schedule, prediction, condition ids and their frequencies
snapshots/step_NNNNNNNN/            the same two files at earlier steps, where asked for
weak/                               a denoiser of its own, for autoguidance, where asked for
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from selfguide.core.artifact import Meta, read_meta, write_meta
from selfguide.core.errors import UserError
from selfguide.core.target import replacing
from selfguide.core.weights import check_finite
from selfguide.denoiser.registry import build

KIND = "denoiser"
WEIGHTS = ("ema", "raw")


@dataclass(frozen=True)
class Weights:
    """Parameters after some number of optimiser steps."""

    ema: dict[str, Tensor]
    raw: dict[str, Tensor]


def save_weights(folder: Path, weights: Weights) -> None:
    """Write the two weight files into an existing folder."""
    for name in WEIGHTS:
        tensors = {key: value.detach().cpu().contiguous() for key, value in getattr(weights, name).items()}
        # Not by save_file: a full disk should be an error of the operating system.
        (folder / f"{name}.safetensors").write_bytes(save(tensors))


@dataclass(frozen=True)
class Denoiser:
    """A trained denoiser.

    Attributes:
        meta: of the artifact.
        place: the weights' folder inside of it, "" or that of a snapshot.
        network: what `selfguide.denoiser.registry.build` takes, with `mask_channels` in any case.
        schedule: name of the noise schedule.
        num_timesteps: T.
        prediction: "eps" or "v".
        guidance: the guidance kind that it was trained with.
        step: optimiser steps behind the weights.
        digest: sha256 over the weight files.
    """

    meta: Meta
    place: str
    network: dict[str, Any]
    schedule: str
    num_timesteps: int
    prediction: str
    guidance: str
    step: int
    digest: str

    @classmethod
    def load(cls, folder: str | Path) -> "Denoiser":
        """Read meta.json.

        Raises:
            UserError: missing or foreign.
        """
        stage = "checkpoint" if Path(folder).name in ("checkpoint", "weak") else "denoiser"
        meta = read_meta(folder, KIND, stage)
        keys = ("network", "schedule", "num_timesteps", "prediction", "guidance", "step", "digest")
        facts = {key: meta[key] for key in keys}
        facts["network"] = {"mask_channels": 0, **meta["network"]}  # left out where there are none
        return cls(meta=meta, place="", **facts)

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return self.meta.folder / self.place

    def weights(self, name: str) -> Path:
        """The file of the "ema" or "raw" weights.

        Raises:
            UserError: missing, or not the bytes that were written.
        """
        return self.meta.check(str(Path(self.place) / f"{name}.safetensors"))

    def build(self, weights: str) -> nn.Module:
        """The network with its weights, in eval mode, on the CPU.

        Args:
            weights: "ema" or "raw".

        Raises:
            UserError: another name, or a weight file that is missing, damaged, of another network or not finite.
        """
        if weights not in WEIGHTS:
            raise UserError(f"weights: unknown '{weights}'; valid: {', '.join(WEIGHTS)}")
        path, network = self.weights(weights), build(self.network)
        try:
            network.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UserError(f"{path}: cannot load the weights ({error}); run `dvc repro denoiser`") from None
        check_finite(network.state_dict(), str(path))
        return network.eval()

    def snapshots(self) -> list["Denoiser"]:
        """The denoiser at every step that was kept, oldest first, the final one last."""
        kept = sorted({str(Path(name).parent) for name in self.meta["files"] if name.startswith("snapshots/")})
        earlier = [replace(self, place=place, step=int(place.removeprefix("snapshots/step_"))) for place in kept]
        return [*earlier, self]

    def weak(self) -> "Denoiser | None":
        """The weak model that `copy_denoiser` put beside the weights, if any."""
        return Denoiser.load(self.folder / "weak") if (self.folder / "weak").is_dir() else None


def write_denoiser(folder: Path, weights: Weights, facts: dict[str, Any]) -> None:
    """Write weights and meta.json into an existing folder.

    Args:
        folder: an existing folder; what it already holds (snapshots) is sealed with it.
        weights: the final weights.
        facts: every attribute of `Denoiser` but folder and digest, and the training's provenance.
    """
    save_weights(folder, weights)
    write_meta(folder, KIND, **facts)


def copy_denoiser(chosen: Denoiser, folder: str | Path, weak: Denoiser | None = None, **facts: Any) -> None:
    """Write a denoiser, or one of its snapshots, as a denoiser of its own.

    Args:
        chosen: one of `Denoiser.snapshots()`.
        folder: where to write.
        weak: written to its `weak/`: a worse denoiser, or one of its snapshots.
        facts: added to meta.json.

    Raises:
        UserError: `folder` holds one of the two, or their weights are damaged.
    """
    for source in (chosen, weak):
        if source is not None and Path(folder).resolve() == source.meta.folder.resolve():
            raise UserError(f"{folder}: the denoiser that is to be copied from; write to another folder")
    with replacing(folder, KIND) as temporary:
        if weak is not None:
            (temporary / "weak").mkdir()
            _copy(weak, temporary / "weak", {})
            facts["weak_model"] = {"step": weak.step, "digest": Denoiser.load(temporary / "weak").digest}
        _copy(chosen, temporary, facts)


def _copy(chosen: Denoiser, folder: Path, facts: dict[str, Any]) -> None:
    own = ("kind", "format_version", "digest", "files", "seal", "weak_model")
    for name in WEIGHTS:
        # Bytes, not a hard link: a link into DVC's cache must never be made by hand.
        (folder / f"{name}.safetensors").write_bytes(chosen.weights(name).read_bytes())
    kept = {key: value for key, value in chosen.meta.items() if key not in own}
    write_meta(folder, KIND, **{**kept, "step": chosen.step, **facts})
