"""The one place where uint8 images (0..255, NHWC, on disk) and float images (-1..1, NCHW, in a network) meet."""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 NHWC in 0..255 => float32 NCHW in [-1, 1]."""
    return images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float NCHW in [-1, 1] => uint8 NHWC in 0..255, rounded to nearest; values outside are clipped."""
    scaled = images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
