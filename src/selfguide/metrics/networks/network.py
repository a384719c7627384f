"""What every feature network of the metrics offers."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class FeatureNetwork(nn.Module, ABC):
    """A frozen network in eval mode: uint8 images => features and logits. Resizing and scaling are part of it."""

    #: Its name in `reference.networks`.
    name: ClassVar[str]
    #: First word of its Frechet distance in results/metrics.json: "fid" for the real Inception, "fd_<name>" otherwise.
    key: ClassVar[str]
    #: D, length of a feature vector.
    width: int
    #: C, number of logits; 0 for a network without a classifier.
    num_classes: int
    #: Names resizing and scaling in artifacts: features of another preprocessing are another space.
    preprocessing: str
    #: Name of the published backbone variant that is the same network: clusters may have been made with it.
    variant: ClassVar[str | None] = None
    #: sha256 of the weights.
    weights: str

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features and logits.

        Args:
            images: uint8 (B, H, W, 3) in 0..255, RGB.

        Returns:
            features float32 (B, D) and logits float32 (B, C).
        """
