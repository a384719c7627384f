"""The table of feature networks."""

from pathlib import Path

from selfguide.core.config import nearest
from selfguide.core.errors import UserError
from selfguide.metrics.networks.backbone_space import DINOv2ViTB14, DINOv2ViTL14, OwnBackbone
from selfguide.metrics.networks.efficientnet_lite0 import EfficientNetLite0
from selfguide.metrics.networks.inception import Inception
from selfguide.metrics.networks.network import FeatureNetwork

NETWORKS: dict[str, type[FeatureNetwork]] = {
    network.name: network for network in (Inception, EfficientNetLite0, DINOv2ViTB14, DINOv2ViTL14, OwnBackbone)
}


def build_network(name: str, backbone: str | Path | None = None) -> FeatureNetwork:
    """A feature network with its weights, in eval mode.

    Args:
        name: key of `NETWORKS`.
        backbone: folder of a backbone; only the network `backbone` reads it.

    Raises:
        UserError: unknown name, missing or wrong weights, or no folder for the network `backbone`.
    """
    if name not in NETWORKS:
        valid = list(NETWORKS)
        raise UserError(f"network '{name}' is unknown; valid: {', '.join(valid)}{nearest(name, valid)}")
    network = NETWORKS[name]
    if not issubclass(network, OwnBackbone):
        return network()
    if backbone is None:
        raise UserError("network 'backbone' needs a folder: set reference.backbone, e.g. to models/backbone of a run")
    return network(backbone)
