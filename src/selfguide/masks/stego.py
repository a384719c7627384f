"""STEGO (Hamilton et al., ICLR 2022): a head whose codes agree where features do, and clusters of the codes.

The loss of two maps of codes is -clamp(cos(codes)) (cos(features) - b): codes are drawn together where features agree
by more than the shift b, and apart where they agree by less. Its terms are an image with itself, with a neighbour, and
with others. Where the paper and its code differ, this is the code's way.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from selfguide.masks.batch import Maps, TrainingBatch
from selfguide.masks.config import SegmenterConfig
from selfguide.masks.revival import Revival

#: Published settings: weights of the terms self, neighbour and negative, and their shifts b.
PRESETS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "shipped": ((0.67, 0.25, 0.63), (0.18, 0.12, 0.46)),
    "cocostuff_vit_s": ((0.67, 0.25, 0.63), (0.08, 0.02, 0.66)),
    "cocostuff_vit_b": ((0.10, 1.0, 0.1538), (0.12, 0.20, 1.0)),
    "cityscapes": ((1.0, 0.577, 0.906), (0.458, 0.175, 0.314)),
    "potsdam": ((0.67, 0.25, 0.63), (0.08, 0.02, 0.46)),
}
_EPS = 1e-10
_MOST = 0.8


def sample_at(maps: Tensor, coords: Tensor) -> Tensor:
    """Bilinear samples of maps; corners are the centres of the corner cells, and beyond them the border goes on.

    Args:
        maps: (B, C, h, w).
        coords: (B, S1, S2, 2) in [-1, 1], (x, y) on the last axis.

    Returns:
        (B, C, S2, S1): the two axes of positions change places, as in the authors' code.
    """
    return F.grid_sample(maps, coords.transpose(1, 2), mode="bilinear", padding_mode="border", align_corners=True)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Of every vector with every other: (B, C, S, S) and (B, C, S, S) => (B, S, S, S, S), a's axes first."""
    return torch.einsum("nchw,ncij->nhwij", F.normalize(a, dim=1, eps=_EPS), F.normalize(b, dim=1, eps=_EPS))


def centred(agreement: Tensor, num_anchor_axes: int) -> Tensor:
    """Agreement less its mean over what each anchor is compared with, moved so that the mean of all stays.

    Args:
        agreement: (B, anchors..., others...).
        num_anchor_axes: behind the batch.
    """
    others = tuple(range(1 + num_anchor_axes, agreement.ndim))
    mean = agreement.mean()
    found = agreement - agreement.mean(dim=others, keepdim=True)
    return found - found.mean() + mean


def correspondence_loss(
    feats_a: Tensor,
    feats_b: Tensor,
    code_a: Tensor,
    code_b: Tensor,
    shift: float,
    pointwise: bool = True,
    zero_clamp: bool = True,
    stabilize: bool = False,
) -> Tensor:
    """-clamp(cos(codes)) (cos(features) - shift) of every position of a with every position of b.

    Args:
        feats_a, feats_b: (B, C, S, S), sampled; no gradient goes through them.
        code_a, code_b: (B, d, S, S), at the same positions.
        shift: b; larger drives codes apart.
        pointwise: centre the features' cosines: see `centred`.
        zero_clamp: cosines of codes below 0 count as 0, and have no gradient.
        stabilize: those above 0.8 count as 0.8.

    Returns:
        (B, S, S, S, S), a's axes first.
    """
    with torch.no_grad():
        agreement = cosines(feats_a, feats_b)
        if pointwise:
            agreement = centred(agreement, 2)
    codes = cosines(code_a, code_b)
    codes = codes.clamp(0.0 if zero_clamp else None, _MOST if stabilize else None) if zero_clamp or stabilize else codes
    return -codes * (agreement - shift)


class StegoHead(nn.Module):
    """Codes of features: a linear branch and one with a hidden layer, added; dropout of whole channels before each.

    Args:
        channels: C of the features.
        width: of the codes.
        dropout: share of channels.
    """

    def __init__(self, channels: int, width: int, dropout: float = 0.1, hidden: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.linear = nn.Conv2d(channels, width, 1)
        self.nonlinear = nn.Sequential(nn.Conv2d(channels, channels, 1), hidden(), nn.Conv2d(channels, width, 1))
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) => (B, width, h, w)."""
        code: Tensor = self.linear(self.dropout(maps)) + self.nonlinear(self.dropout(maps))
        return code


def self_avoiding(num: int, generator: torch.Generator) -> Tensor:
    """A permutation of 0..num-1 whose fixed points are moved on by one, so that it may be none: int64 (num,).

    Of one image alone it is the image itself.
    """
    order = torch.randperm(num, generator=generator)
    order[order == torch.arange(num)] += 1
    return order % num


def cluster_probe(code: Tensor, clusters: Tensor, alpha: float | None = None) -> tuple[Tensor, Tensor]:
    """Soft or hard assignment of codes to clusters by their cosine.

    Args:
        code: (B, d, h, w); clusters: (K, d). Both are made of unit length here.
        alpha: sharpness; None: all to the nearest.

    Returns:
        minus the mean over pixels of the sum over clusters of probability times cosine; (B, K, h, w) probabilities.
    """
    cosine = torch.einsum("bdhw,kd->bkhw", F.normalize(code, dim=1), F.normalize(clusters, dim=1))
    if alpha is None:
        probabilities = F.one_hot(cosine.argmax(dim=1), len(clusters)).permute(0, 3, 1, 2).to(cosine.dtype)
    else:
        probabilities = (alpha * cosine).softmax(dim=1)
    return -(probabilities * cosine).sum(dim=1).mean(), probabilities


class Stego(nn.Module):
    """What is trained: the head by the correspondence loss, and clusters on its codes, which do not move them."""

    def __init__(self, channels: int, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        self.code = StegoHead(channels, config.width, config.dropout)
        self.clusters = nn.Parameter(torch.randn(config.num_classes, config.width))
        self.revival = Revival(config.num_classes, config.revive_every_steps, config.max_steps)
        self._moved: dict[int, Tensor] = {}

    def forward(self, batch: TrainingBatch) -> Tensor:
        """The loss of a batch."""
        settings = self.config.stego
        weights, shifts = (settings.weights, settings.shifts) if settings.preset == "own" else PRESETS[settings.preset]
        images, others = batch.images, batch.neighbours()
        size = len(images), self.config.num_samples, self.config.num_samples, 2
        here, there = (2 * torch.rand(size, generator=batch.generator) - 1 for _ in range(2))
        code, other_code = self.code(images.maps), self.code(others.maps)
        drop = self.code.dropout
        feats, other_feats = drop(images.maps), drop(others.maps)

        def at(maps: Tensor, of: Maps, coords: Tensor) -> Tensor:
            return sample_at(maps, of.inside(coords))

        def term(shift: float, feats_b: Tensor, code_b: Tensor) -> Tensor:
            return correspondence_loss(
                anchor, feats_b, anchor_code, code_b, shift, settings.pointwise, settings.zero_clamp, settings.stabilize
            ).mean()

        anchor, anchor_code = at(feats, images, here), at(code, images, here)
        total = weights[0] * term(shifts[0], anchor, anchor_code)
        total = total + weights[1] * term(shifts[1], at(other_feats, others, there), at(other_code, others, there))
        negatives = []
        for _ in range(settings.num_negatives):
            order = self_avoiding(len(images), batch.generator).to(code.device)
            shuffled = images.take(order)
            negatives.append(term(shifts[2], at(feats[order], shuffled, there), at(code[order], shuffled, there)))
        total = total + weights[2] * torch.stack(negatives).mean()
        cells = images.cells(code.detach())
        probe, _ = cluster_probe(cells, self.clusters)
        self._moved = self.revival(cells[0, :, 0].T, self.clusters)
        return total + probe

    @torch.no_grad()
    def after_step(self) -> None:
        """Move empty clusters."""
        for number, place in self._moved.items():
            self.clusters[number] = place
