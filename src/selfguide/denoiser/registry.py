"""The denoiser variants, and `build`."""

from collections.abc import Callable

from selfguide.core.errors import UserError
from selfguide.denoiser.concat import ConcatUNet
from selfguide.denoiser.config import NetworkConfig
from selfguide.denoiser.cross_attention import CrossAttentionUNet
from selfguide.denoiser.network import Network

#: By `denoiser.network.variant`: (the variant's configuration, sizes of `Network` by name) => the network.
DENOISERS: dict[str, Callable[..., Network]] = {"concat": ConcatUNet, "cross_attention": CrossAttentionUNet}


def build(config: NetworkConfig, *, side: int, channels: int, num_ids: int, map_channels: int = 0) -> Network:
    """Build an untrained network.

    Args:
        config: of the variant.
        side: h, cells a side of what it denoises.
        channels: C of it.
        num_ids: K, the number of condition ids; 0 for no guidance.
        map_channels: M of the condition's map; 0: it has none.

    Raises:
        UserError: sizes that do not fit one another.
    """
    found = list(config.faults(side))
    if found:
        raise UserError("\n".join(found))
    return DENOISERS[config.variant](config, side=side, channels=channels, num_ids=num_ids, map_channels=map_channels)
