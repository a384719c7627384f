"""SmooSeg (Lan et al., NeurIPS 2023): labels that change where features do, in an image and between images.

With W the features' centred cosines of two positions and p the labels' probabilities, the energy is the mean of
(W + shift) (1 - cos(p_i, p_j)): positions that agree by more than -shift are to have one label, others different ones.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from selfguide.masks.batch import TrainingBatch
from selfguide.masks.config import SegmenterConfig
from selfguide.masks.revival import Revival
from selfguide.masks.stego import StegoHead, centred, self_avoiding


def smoothness(feats_a: Tensor, feats_b: Tensor, probs_a: Tensor, probs_b: Tensor, shift: float) -> Tensor:
    """The mean over images and pairs of positions of (W + shift) (1 - cos(p_i, p_j)).

    Args:
        feats_a, feats_b: (B, C, N); no gradient goes through them.
        probs_a, probs_b: (B, K, N), at the same positions.
        shift: larger draws labels together.

    Returns:
        scalar.
    """
    with torch.no_grad():
        agreement = torch.einsum("bcn,bcm->bnm", F.normalize(feats_a, dim=1), F.normalize(feats_b, dim=1))
        agreement = centred(agreement, 1)
    labels = torch.einsum("bkn,bkm->bnm", F.normalize(probs_a, dim=1), F.normalize(probs_b, dim=1))
    return ((agreement + shift) * (1 - labels)).mean()


def data_term(code: Tensor, prototypes: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the cosines of codes, which get no gradient, with prototypes.

    Args:
        code: (B, d, N); prototypes: (K, d).
        targets: int64 (B, N), the prototype that each position belongs to.
    """
    cosine = torch.einsum("bdn,kd->bkn", F.normalize(code.detach(), dim=1), F.normalize(prototypes, dim=1))
    return F.cross_entropy(cosine, targets)


class SmooSeg(nn.Module):
    """What is trained: the head by the energy, the prototypes by the data term; a moving average of these labels."""

    def __init__(self, channels: int, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        self.code = StegoHead(channels, config.width, config.dropout, nn.SiLU)
        self.prototypes = nn.Parameter(nn.init.xavier_uniform_(torch.empty(config.num_classes, config.width)))
        self.register_buffer("clusters", F.normalize(self.prototypes.detach().clone(), dim=1))
        self.clusters: Tensor
        self.revival = Revival(config.num_classes, config.revive_every_steps, config.max_steps)
        self._moved: dict[int, Tensor] = {}

    def forward(self, batch: TrainingBatch) -> Tensor:
        """The loss of a batch."""
        settings, images = self.config.smooseg, batch.images
        places = images.pick(self.config.num_samples**2, batch.generator)

        def at(maps: Tensor) -> Tensor:
            return maps.flatten(2).gather(2, places[:, None].expand(-1, maps.shape[1], -1))

        code, feats = at(self.code(images.maps)), at(self.code.dropout(images.maps))
        cosine = torch.einsum("bdn,kd->bkn", F.normalize(code, dim=1), self.clusters)
        labels = (cosine / settings.temperature).softmax(dim=1)
        self._moved = self.revival(code.detach().transpose(1, 2).flatten(0, 1), self.clusters)
        order = self_avoiding(len(images), batch.generator).to(code.device)
        within, across = settings.shifts
        energy = smoothness(feats, feats, labels, labels, within)
        energy = energy + smoothness(feats, feats[order], labels, labels[order], across)
        return energy + data_term(code, self.prototypes, cosine.argmax(dim=1))

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the average of the prototypes on, and empty clusters."""
        moved = self.clusters.lerp(F.normalize(self.prototypes, dim=1), 1 - self.config.smooseg.prototype_decay)
        self.clusters.copy_(F.normalize(moved, dim=1))
        for number, place in self._moved.items():
            self.prototypes[number] = self.clusters[number] = place
