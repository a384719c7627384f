"""Self-guided diffusion (Hu et al., CVPR 2023): guided image diffusion with no human annotation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfguide.samples.generator import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Lazy, so that reading a configuration never pays for importing torch.
    if name == "load":
        from selfguide.samples.generator import load

        return load
    raise AttributeError(f"module 'selfguide' has no attribute {name!r}")
