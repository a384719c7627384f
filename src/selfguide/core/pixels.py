"""Where uint8 images (0..255, NHWC, on disk) and the denoiser's float images (-1..1, NCHW) meet.

Feature networks scale images as they were trained to: see their own preprocessing.
"""

import torch
from torch import Tensor

from selfguide.core.errors import UserError


def to_float(images: Tensor) -> Tensor:
    """uint8 NHWC in 0..255 => float32 NCHW in [-1, 1]."""
    return images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float NCHW in [-1, 1] => uint8 NHWC in 0..255, rounded to nearest; values outside are clipped.

    Raises:
        UserError: NaN or infinity, which would become black or white.
    """
    finite = images.isfinite()
    if not finite.all():
        bad = int((~finite.flatten(1).all(1)).sum())
        raise UserError(
            f"samples: NaN or infinity in {bad} of {len(images)} images drawn together; lower w, sample with precision"
            " 32-true, or see by the loss curve whether the training of the weights diverged"
        )
    scaled = images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
