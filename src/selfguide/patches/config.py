"""The `patches` section: dense features of the backbone, which masks are made of."""

from typing import Literal

from pydantic import Field

from selfguide.core.config import BatchSize, Precision, StrictModel

Kind = Literal["tokens", "keys", "map"]


class PatchesConfig(StrictModel):
    """Which features of which pixels are kept, as float16."""

    kind: Kind
    """`tokens`, normed, or `keys` of a vision transformer's last block; `map`: what a convolutional network pools."""
    resolution: Literal["stored", "original"]
    """Pixels that the backbone sees: the squares of data/images, or the images as their files have them, whole."""
    input_size: int | None = Field(ge=16, le=4096)
    """Side that the shorter side is resized to for the backbone, pixels, aspect kept; null: as it is. STEGO: 224."""
    crops: Literal["none", "five"]
    """`five`: the segmenter learns from the four corners and the centre of each image, half as high and wide, and a
    neighbour of one may be another of the same image (STEGO's five-crop); `none`: from whole images."""
    batch_size: BatchSize
    """Images per rank and step."""
    precision: Precision
    """Of the backbone."""
