"""How many images to draw at a time, for `samples.batch_size: auto`."""

import logging

import torch

from selfguide.core import environment
from selfguide.core.hardware import uses_cuda
from selfguide.denoiser.network import Network
from selfguide.signal.condition import BatchCondition

log = logging.getLogger(__name__)

#: On a CPU, larger batches are no faster.
CPU = 64
#: On a GPU, larger batches are no faster.
LARGEST = 2048


def auto_batch_size(network: Network) -> int:
    """A power of two whose guided forward pass, of two rows an image, fits into half of a GPU's memory.

    It follows from the network and the GPU's size, so that a killed run goes on with the batches that it had, and all
    processes on equal GPUs agree. Where GPUs differ or others use them, set a number.

    Args:
        network: the denoiser; may be moved to the GPU.
    """
    if not uses_cuda():
        return CPU
    device = torch.device("cuda", environment.number("LOCAL_RANK", least=0) or 0)
    few, more = (_peak(network.to(device), rows, device) for rows in (16, 32))
    size = fitting(2 * (more - few) // 16, torch.cuda.get_device_properties(device).total_memory // 2)
    log.info("samples.batch_size auto: %d", size)
    return size


def fitting(bytes_per_image: int, available: int) -> int:
    """The largest power of two, 1 to LARGEST, of images that need no more bytes than there are."""
    most = min(LARGEST, max(1, available // max(1, bytes_per_image)))
    return int(2 ** (most.bit_length() - 1))


@torch.no_grad()
def _peak(network: Network, rows: int, device: torch.device) -> int:
    side, channels = network.side, network.map_channels
    x = torch.zeros(rows, network.channels, side, side, device=device)
    ids = torch.full((rows,), -1, device=device)
    torch.cuda.reset_peak_memory_stats(device)
    c = BatchCondition(ids, torch.zeros(rows, channels, side, side, device=device) if channels else None)
    # As samplers call it: what is computed once per image, and kept, counts.
    network.unrolled(torch.zeros_like(ids[:1]), c)(x, 0)
    return torch.cuda.max_memory_allocated(device)
