"""What the hardware is fast at. Apart from `runtime`, so that asking does not import Lightning."""

from functools import lru_cache

import torch

from selfguide.core import environment


def accelerator() -> str:
    """What SELFGUIDE_ACCELERATOR asks for: auto (default), cpu, gpu, cuda or mps."""
    return environment.choice("SELFGUIDE_ACCELERATOR")


def uses_cuda() -> bool:
    """Whether work goes to an NVIDIA GPU."""
    return torch.cuda.is_available() and accelerator() in ("auto", "gpu", "cuda")


def fast_bf16() -> tuple[bool, str]:
    """Whether the hardware multiplies bf16 faster than float32, and what it is."""
    return _fast_bf16(uses_cuda(), accelerator())


@lru_cache
def _fast_bf16(cuda: bool, name: str) -> tuple[bool, str]:
    if cuda:
        return torch.cuda.is_bf16_supported(including_emulation=False), torch.cuda.get_device_name()
    if name not in ("auto", "cpu"):
        return False, name
    if torch.cpu._is_amx_tile_supported():
        return True, "a CPU with AMX"
    return (True, "a CPU with AVX512-BF16") if torch.cpu._is_avx512_bf16_supported() else (False, "this CPU")


def compile_mode(device: torch.device) -> str | None:
    """The mode of torch.compile: with CUDA graphs on a GPU."""
    return "reduce-overhead" if device.type == "cuda" else None
