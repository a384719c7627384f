"""The denoiser variants, and `build`."""

from typing import Any

from torch import nn

from selfguide.core.config import nearest
from selfguide.core.errors import UserError
from selfguide.denoiser.concat import ConcatUNet
from selfguide.denoiser.cross_attention import CrossAttentionUNet
from selfguide.denoiser.layout import LAYOUT_KEYS, faults

DENOISERS: dict[str, type[nn.Module]] = {"concat": ConcatUNet, "cross_attention": CrossAttentionUNet}

#: Keys of the `denoiser` section that describe the network; the rest describes its training.
NETWORK_KEYS = (
    *LAYOUT_KEYS,
    "num_heads",
    "dropout",
    "time_width",
    "guidance_width",
)


def build(config: dict[str, Any]) -> nn.Module:
    """Build an untrained network.

    Args:
        config: `variant`, `image_size` (pixels), `num_ids` (K), the `NETWORK_KEYS` and, where the condition has a mask,
            `mask_channels` (M; absent: 0), as a model's meta.json has them.

    Returns:
        A module with `forward(x, t, c, mask=None)`: float (B, 3, H, W), int64 (B,), int64 (B,) or (B, L), and float
        (B, M, H, W) where M > 0 => float (B, 3, H, W); and with `unrolled(t, c, mask=None)`, the same along a schedule.

    Raises:
        UserError: unknown variant, or sizes that do not fit one another, see `selfguide.denoiser.layout.faults`.
    """
    settings = dict(config)
    variant = settings.pop("variant")
    if variant not in DENOISERS:
        known = sorted(DENOISERS)
        raise UserError(f"denoiser.variant: unknown '{variant}'; known: {', '.join(known)}{nearest(variant, known)}")
    settings["channel_multipliers"] = tuple(settings["channel_multipliers"])
    settings["attention_resolutions"] = tuple(settings["attention_resolutions"])
    found = list(faults(settings["image_size"], settings))
    if found:
        raise UserError("\n".join(found))
    return DENOISERS[variant](**settings)
