"""What every feature network of the metrics offers."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class FeatureNetwork(nn.Module, ABC):
    """A frozen classifier in eval mode: uint8 images => features and logits. Resizing and scaling are part of it."""

    #: Its name in `reference.networks`.
    name: ClassVar[str]
    #: First word of its Frechet distance in results/metrics.json: "fid" for the real Inception, "fd_<name>" otherwise.
    key: ClassVar[str]
    #: D, length of a feature vector.
    width: ClassVar[int]
    #: C, number of logits.
    num_classes: ClassVar[int]
    #: Names resizing and scaling in artifacts: features of another preprocessing are another space.
    preprocessing: ClassVar[str]
    #: sha256 of the file of weights.
    weights: str

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features and logits.

        Args:
            images: uint8 (B, H, W, 3) in 0..255, RGB.

        Returns:
            features float32 (B, D) and logits float32 (B, C).
        """
