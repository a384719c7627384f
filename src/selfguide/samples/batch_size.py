"""How many images to draw at a time, for `samples.batch_size: auto`."""

import logging

import torch
from torch import nn

from selfguide.core import environment
from selfguide.core.hardware import uses_cuda

log = logging.getLogger(__name__)

#: On a CPU, larger batches are no faster.
CPU = 64
#: On a GPU, larger batches are no faster.
LARGEST = 2048


def auto_batch_size(network: nn.Module, image_size: int) -> int:
    """A power of two whose guided forward pass, of two rows an image, fits into half of a GPU's memory.

    It follows from the network and the GPU's size, so that a killed run goes on with the batches that it had, and all
    processes on equal GPUs agree. Where GPUs differ or others use them, set a number.

    Args:
        network: the denoiser; may be moved to the GPU.
        image_size: side in pixels.
    """
    if not uses_cuda():
        return CPU
    device = torch.device("cuda", environment.number("LOCAL_RANK", least=0) or 0)
    few, more = (_peak(network.to(device), image_size, rows, device) for rows in (16, 32))
    size = fitting(2 * (more - few) // 16, torch.cuda.get_device_properties(device).total_memory // 2)
    log.info("samples.batch_size auto: %d", size)
    return size


def fitting(bytes_per_image: int, available: int) -> int:
    """The largest power of two, 1 to LARGEST, of images that need no more bytes than there are."""
    most = min(LARGEST, max(1, available // max(1, bytes_per_image)))
    return int(2 ** (most.bit_length() - 1))


@torch.no_grad()
def _peak(network: nn.Module, image_size: int, rows: int, device: torch.device) -> int:
    x = torch.zeros(rows, 3, image_size, image_size, device=device)
    null = torch.full((rows,), -1, device=device)
    torch.cuda.reset_peak_memory_stats(device)
    channels: int = getattr(network, "mask_channels", 0)
    mask = torch.zeros(rows, channels, image_size, image_size, device=device) if channels else None
    # As samplers call it: what is computed once per image, and kept, counts.
    network.unrolled(null[:1].clamp(min=0), null, mask)(x, 0)  # type: ignore[operator]
    return torch.cuda.max_memory_allocated(device)
