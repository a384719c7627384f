"""The trained denoiser on disk: weights as safetensors, and a meta.json that says how to rebuild the network.

ema.safetensors, raw.safetensors    averaged and last weights, float32
meta.json                           network, space and form of the signal, noise schedule, prediction
snapshots/step_NNNNNNNN/            a denoiser of its own: that of an earlier step, where asked for
weak/                               a denoiser of its own, for autoguidance, where asked for
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from selfguide.core.artifact import Meta, read_meta, write_meta
from selfguide.core.errors import UserError, rerun
from selfguide.core.target import replacing
from selfguide.core.weights import check_finite
from selfguide.denoiser.config import NetworkConfig, read_network
from selfguide.denoiser.network import Network
from selfguide.denoiser.registry import build
from selfguide.denoiser.schedule import SCHEDULES
from selfguide.signal.signal import Form
from selfguide.space.registry import describe, load_space
from selfguide.space.space import Space

KIND = "denoiser"
WEIGHTS = ("ema", "raw")
SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class Weights:
    """Parameters after some number of optimiser steps."""

    ema: dict[str, Tensor]
    raw: dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """What a denoiser is for: models of one task stand in for one another.

    Attributes:
        space: what it works in.
        form: of the signal that guides it.
        guidance: the guidance kind that it was trained with.
        schedule: name of the noise schedule.
        num_timesteps: T.
        prediction: "eps" or "v".

    Raises:
        ValueError: an unknown schedule or prediction, or no number of time steps.
    """

    space: Space
    form: Form
    guidance: str
    schedule: str
    num_timesteps: int
    prediction: str

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES or self.prediction not in ("eps", "v"):
            raise ValueError(f"schedule {self.schedule!r}, prediction {self.prediction!r}")
        if not isinstance(self.num_timesteps, int) or self.num_timesteps < 1:
            raise ValueError(f"num_timesteps {self.num_timesteps!r}")

    def facts(self) -> dict[str, Any]:
        """For meta.json."""
        return {**vars(self), "space": describe(self.space), "form": self.form.facts()}


@dataclass(frozen=True)
class Denoiser:
    """A trained denoiser.

    Attributes:
        meta: of the artifact.
        task: what it is for.
        network: variant and sizes.
        step: optimiser steps behind the weights.
        digest: sha256 over the artifact's files.
    """

    meta: Meta
    task: Task
    network: NetworkConfig
    step: int
    digest: str

    @classmethod
    def load(cls, folder: str | Path) -> "Denoiser":
        """Read meta.json.

        Raises:
            UserError: missing, foreign, or of another version.
        """
        stage = "checkpoint" if Path(folder).name in ("checkpoint", "weak") else "denoiser"
        meta = read_meta(folder, KIND, stage)
        try:
            network = read_network(meta["network"], f"{folder}/meta.json")
            task = Task(
                load_space(meta["space"], Path(folder)),
                Form(**meta["form"]),
                *(meta[key] for key in ("guidance", "schedule", "num_timesteps", "prediction")),
            )
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise UserError(
                f"{folder}/meta.json: not that of a denoiser of this version ({error}); {rerun(stage)}"
            ) from None
        return cls(meta, task, network, meta["step"], meta["digest"])

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.meta.folder

    def build(self, weights: str) -> Network:
        """The network with its weights, in eval mode, on the CPU.

        Args:
            weights: "ema" or "raw".

        Raises:
            UserError: another name, or a weight file that is missing, damaged, of another network or not finite.
        """
        if weights not in WEIGHTS:
            raise UserError(f"weights: unknown '{weights}'; valid: {', '.join(WEIGHTS)}")
        path, network = self.meta.check(f"{weights}.safetensors"), build_network(self.network, self.task)
        try:
            network.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UserError(f"{path}: cannot load the weights ({error}); {rerun('denoiser')}") from None
        check_finite(network.state_dict(), str(path))
        return network.eval()

    def snapshots(self) -> list["Denoiser"]:
        """The denoiser at every step that was kept, oldest first, the final one last."""
        kept = sorted({Path(name).parent for name in self.meta["files"] if name.startswith(f"{SNAPSHOTS}/")})
        return [*(Denoiser.load(self.folder / place) for place in kept), self]

    def weak(self) -> "Denoiser | None":
        """The weak model that `copy_denoiser` put beside the weights, if any."""
        return Denoiser.load(self.folder / "weak") if (self.folder / "weak").is_dir() else None


def build_network(config: NetworkConfig, task: Task) -> Network:
    """An untrained network for a task; see `selfguide.denoiser.registry.build`."""
    space, form = task.space, task.form
    return build(config, side=space.side, channels=space.channels, num_ids=form.num_ids, map_channels=form.channels)


def write_denoiser(folder: Path, weights: Weights, task: Task, network: NetworkConfig, step: int, **facts: Any) -> None:
    """Write weights, space and meta.json into an existing folder.

    Args:
        folder: an existing folder; what it already holds (snapshots) is sealed with it.
        weights: after `step` optimiser steps.
        task, network, step: see `Denoiser`.
        facts: the training's provenance.
    """
    for name in WEIGHTS:
        tensors = {key: value.detach().cpu().contiguous() for key, value in getattr(weights, name).items()}
        # Not by save_file: a full disk should be an error of the operating system.
        (folder / f"{name}.safetensors").write_bytes(save(tensors))
    task.space.save(folder)
    write_meta(folder, KIND, **task.facts(), network=network.model_dump(mode="json"), step=step, **facts)


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
        (folder / f"{name}.safetensors").write_bytes(chosen.meta.check(f"{name}.safetensors").read_bytes())
    chosen.task.space.save(folder)
    write_meta(folder, KIND, **{key: value for key, value in chosen.meta.items() if key not in own}, **facts)
