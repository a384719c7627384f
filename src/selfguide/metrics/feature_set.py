"""The features of one image set in one network: the artifact of which every score is a function.

features.npy  float32 (N, D)
logits.npy    float32 (N, C); absent for a network without a classifier
mean.npy      float64 (D,)
root.npy      float64 (D, r), root root^T = covariance
meta.json     network, weights, preprocessing, image size, digest of the images, N
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfguide.core.artifact import Array, read_meta, save_array, write_meta
from selfguide.core.target import replacing
from selfguide.metrics.frechet import Moments

KIND = "feature_set"


@dataclass(frozen=True)
class FeatureSet:
    """Features and logits in image order, and where they come from.

    Attributes:
        features: float32 (N, D).
        logits: float32 (N, C); C = 0 for a network without a classifier.
        moments: mean and covariance of the features.
        network: name in `networks.registry`.
        key: first word of its Frechet distance, "fid" or "fd_<network>".
        weights: sha256 of the network's weights.
        preprocessing: its resizing and scaling, in words.
        image_size: height and width of the images in pixels.
        images: sha256 of all the images that were passed through the network.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    moments: Moments
    network: str
    key: str
    weights: str
    preprocessing: str
    image_size: tuple[int, int]
    images: str

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: slice | Array) -> "FeatureSet":
        """The images at `rows`, a slice or indices: at least 2."""
        features = self.features[rows]
        return replace(self, features=features, logits=self.logits[rows], moments=Moments.of(features))

    def save(self, folder: str | Path) -> None:
        """Write the artifact, whole or not at all."""
        with replacing(folder, KIND) as temporary:
            save_array(temporary / "features.npy", self.features)
            if self.logits.shape[1]:
                save_array(temporary / "logits.npy", self.logits)
            save_array(temporary / "mean.npy", self.moments.mean)
            save_array(temporary / "root.npy", self.moments.root)
            write_meta(
                temporary,
                KIND,
                num=len(self),
                width=self.features.shape[1],
                num_classes=self.logits.shape[1],
                network=self.network,
                key=self.key,
                weights=self.weights,
                preprocessing=self.preprocessing,
                image_size=list(self.image_size),
                images=self.images,
            )

    @classmethod
    def load(cls, folder: str | Path, stage: str) -> "FeatureSet":
        """Open the artifact, memory-mapped.

        Args:
            folder: where `save` wrote it.
            stage: DVC target that makes it, for error messages.

        Raises:
            UserError: missing, truncated or not as meta.json says.
        """
        meta = read_meta(folder, KIND, stage)
        num, width, classes = meta["num"], meta["width"], meta["num_classes"]
        logits = np.zeros((num, 0), np.float32)
        if classes:
            logits = meta.array("logits.npy", "float32", (num, classes))
        root_shape = (width, min(width, num - 1))
        return cls(
            features=meta.array("features.npy", "float32", (num, width)),
            logits=logits,
            moments=Moments(
                np.array(meta.array("mean.npy", "float64", (width,))),
                np.array(meta.array("root.npy", "float64", root_shape)),
                num,
            ),
            network=meta["network"],
            key=meta["key"],
            weights=meta["weights"],
            preprocessing=meta["preprocessing"],
            image_size=(meta["image_size"][0], meta["image_size"][1]),
            images=meta["images"],
        )
