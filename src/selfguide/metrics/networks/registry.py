"""The table of feature networks."""

from selfguide.metrics.networks.efficientnet_lite0 import EfficientNetLite0
from selfguide.metrics.networks.inception import Inception
from selfguide.metrics.networks.network import FeatureNetwork

NETWORKS: dict[str, type[FeatureNetwork]] = {network.name: network for network in (Inception, EfficientNetLite0)}
