"""Images of any size as a network's input: resized as a whole, normalised, padded to whole patches."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from numpy.typing import NDArray
from torch import Tensor

from selfguide.backbone.network import Preprocessing

Pixels = NDArray[np.uint8]
#: Height and width.
Size = tuple[int, int]


def padded_hw(size: Size, patch: int) -> Size:
    """Height and width up to whole patches."""
    height, width = size
    return height + -height % patch, width + -width % patch


def input_hw(size: Size, input_size: int | None) -> Size:
    """Height and width after the shorter side is resized to `input_size` (None: as it is) and the aspect is kept."""
    if input_size is None:
        return size
    height, width = size
    shorter = min(height, width)
    return round(height * input_size / shorter), round(width * input_size / shorter)


def prepare_pixels(image: Pixels, input_size: int | None) -> Pixels:
    """An image as large as the network's input, (h, w, 3) uint8."""
    size = input_hw((image.shape[0], image.shape[1]), input_size)
    if size == image.shape[:2]:
        return image
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    resized = F.interpolate(planes, size, mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def prepare(image: Pixels, size: Size, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """An image as the network's input: resized as a whole, normalised as the backbone asks, (3, h, w) float32."""
    pixels = torch.from_numpy(np.array(image)).to(device, non_blocking=True)[None]
    return replace(preprocessing, input_size=None)(_resize(pixels, size, preprocessing))[0]


def _resize(pixels: Tensor, size: Size, preprocessing: Preprocessing) -> Tensor:
    """As the backbone's own preprocessing resizes, but to any height and width; (1, H, W, 3) uint8 or 0..255."""
    if tuple(pixels.shape[1:3]) == size:
        return pixels
    planes = pixels.permute(0, 3, 1, 2).float()
    resized = F.interpolate(planes, size, mode=preprocessing.interpolation, antialias=True).clamp_(0, 255)
    return resized.permute(0, 2, 3, 1)
