"""models/segmenter: what turns features of patches into codes, and codes into classes.

weights.safetensors  of the codes and the clusters
meta.json            the `masks.segmenter` section, channels of the features, the backbone
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from selfguide.core.artifact import Meta, read_meta, write_meta
from selfguide.core.config import parse
from selfguide.core.errors import UserError, rerun
from selfguide.core.target import replacing
from selfguide.core.weights import check_finite
from selfguide.masks.config import SegmenterConfig
from selfguide.masks.registry import METHODS

_KIND = "segmenter"
#: Sharpness of the probabilities of classes, as the authors of STEGO have it.
ALPHA = 2.0


class Segmenter(nn.Module):
    """Codes of maps of features, and the clusters that codes are compared with.

    Args:
        code: (B, C, h, w) => (B, d, h, w).
        clusters: (K, d).
        mean: (C,), subtracted from features first.
    """

    def __init__(self, code: nn.Module, clusters: Tensor, mean: Tensor) -> None:
        super().__init__()
        self.code = code
        self.register_buffer("clusters", clusters.detach().clone())
        self.register_buffer("mean", mean.detach().clone())
        self.clusters: Tensor
        self.mean: Tensor
        self.requires_grad_(False).eval()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) => codes (B, d, h, w)."""
        code: Tensor = self.code(maps - self.mean[:, None, None])
        return code

    def log_probabilities(self, code: Tensor) -> Tensor:
        """Codes (..., d) => (..., K)."""
        cosine = F.normalize(code, dim=-1) @ F.normalize(self.clusters, dim=1).T
        return (ALPHA * cosine).log_softmax(dim=-1)


@dataclass(frozen=True)
class SegmenterArtifact:
    """models/segmenter, opened.

    Attributes:
        segmenter: frozen, in eval mode.
        config: the `masks.segmenter` section.
        meta: of the artifact.
    """

    segmenter: Segmenter
    config: SegmenterConfig
    meta: Meta

    @classmethod
    def load(cls, folder: str | Path) -> "SegmenterArtifact":
        """Open the artifact.

        Raises:
            UserError: missing, damaged, or of another version.
        """
        meta = read_meta(folder, _KIND, "segmenter")
        config = parse(SegmenterConfig, meta["config"], f"{folder}/meta.json: config")
        path = meta.check("weights.safetensors")
        try:
            state = load_file(path)
            code = METHODS[config.method].code(meta["channels"], config)
            segmenter = Segmenter(code, state["clusters"], state["mean"])
            segmenter.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError, LookupError, TypeError) as error:
            raise UserError(f"{path}: cannot load the weights ({error}); {rerun('segmenter')}") from None
        check_finite(segmenter.state_dict(), str(path))
        return cls(segmenter, config, meta)


def save_segmenter(
    folder: str | Path, segmenter: Segmenter, config: SegmenterConfig, channels: int, **facts: object
) -> None:
    """Write the artifact."""
    with replacing(folder, _KIND) as temporary:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in segmenter.state_dict().items()}
        # Not by save_file: a full disk should be an error of the operating system.
        (temporary / "weights.safetensors").write_bytes(save(state))
        write_meta(temporary, _KIND, config=config.model_dump(mode="json"), channels=channels, **facts)


def zero_mean(channels: int) -> Tensor:
    """No mean at all."""
    return torch.zeros(channels)
