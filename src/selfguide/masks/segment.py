"""Classes of pixels of one image, from its patches and those of its mirror image.

Codes are interpolated between the centres of patches, at the very positions that are asked for: the grid is laid on the
image as the backbone saw it, so that what was padded at its right and bottom moves nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.masks.config import MasksConfig
from selfguide.masks.crf import refine
from selfguide.masks.segmenter import Segmenter


@dataclass(frozen=True)
class Seen:
    """An image as its patches.

    Attributes:
        whole, mirror: features (1, C, rows, columns) of the image and of its mirror image; None: it is not looked at.
        scales: pixels of the image per patch along y and x.
        size: height and width in pixels.
    """

    whole: Tensor
    mirror: Tensor | None
    scales: tuple[float, float]
    size: tuple[int, int]


def centres(window: Array, side: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the pixels of a resized window lie in the image, as nearest resampling has it.

    Args:
        window: x0, y0, x1, y1 in pixels of the image, half-open.
        side: rows and columns of the square.

    Returns:
        y (rows,) and x (columns,), positions in pixels, 0.5 being the centre of the first.
    """
    x0, y0, x1, y1 = (int(edge) for edge in window)
    rows, columns = side
    y = y0 + (torch.arange(rows) + 0.5) * (y1 - y0) / rows
    return y, x0 + (torch.arange(columns) + 0.5) * (x1 - x0) / columns


def codes_at(segmenter: Segmenter, seen: Seen, y: Tensor, x: Tensor) -> Tensor:
    """Codes where rows and columns cross, mean of the image's and its mirror image's: (rows, columns, d)."""
    code = _at(segmenter(seen.whole), seen.scales, y, x)
    if seen.mirror is not None:
        code = (code + _at(segmenter(seen.mirror), seen.scales, y, seen.size[1] - x)) / 2
    return code


def _at(code: Tensor, scales: tuple[float, float], y: Tensor, x: Tensor) -> Tensor:
    rows, columns = code.shape[-2:]
    places = torch.meshgrid(2 * y / (scales[0] * rows) - 1, 2 * x / (scales[1] * columns) - 1, indexing="ij")
    grid = torch.stack(places[::-1], dim=-1)[None].to(code)
    found = F.grid_sample(code, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found[0].permute(1, 2, 0)


def classes(
    segmenter: Segmenter, seen: Seen, windows: Array, side: int, config: MasksConfig, pixels: Array | None
) -> tuple[Tensor, Tensor]:
    """Class of each pixel of some windows of an image, each made a square.

    Args:
        segmenter: on the device of the patches.
        seen: the image.
        windows: (V, 4), in pixels of the image.
        side: S of the squares.
        config: the `masks` section.
        pixels: uint8 (h, w, 3), the whole image at the size at which the CRF runs; only read with `config.crf`.

    Returns:
        uint8 (V, S, S), and the mean probability of the classes, float32 (V,).
    """
    if config.crf and pixels is not None:
        height, width = pixels.shape[:2]
        whole = np.array([0, 0, seen.size[1], seen.size[0]])
        code = codes_at(segmenter, seen, *centres(whole, (height, width)))
        sharp = refine(pixels, segmenter.log_probabilities(code).permute(2, 0, 1).cpu().numpy())
        best, certain = torch.from_numpy(sharp.argmax(axis=0)), torch.from_numpy(sharp.max(axis=0))
        found = []
        for window in windows:
            y, x = centres(window, (side, side))
            rows = (y * height / seen.size[0]).long().clamp(max=height - 1)
            columns = (x * width / seen.size[1]).long().clamp(max=width - 1)
            found.append((best[rows][:, columns], certain[rows][:, columns].mean()))
    else:
        found = []
        for window in windows:
            code = codes_at(segmenter, seen, *centres(window, (side, side)))
            certain, best = segmenter.log_probabilities(code).exp().max(dim=-1)
            found.append((best, certain.mean()))
    return torch.stack([mask for mask, _ in found]).to(torch.uint8), torch.stack([value for _, value in found]).float()
