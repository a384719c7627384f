"""The `boxes` section: which annotator draws a box around each image's object, and on which pixels."""

from typing import Literal

from pydantic import Field

from selfguide.core.config import BatchSize, Precision, StrictModel

MethodName = Literal["lost", "token_cut", "center", "random_area_matched"]

#: Methods that look at no keys; the others need a vision transformer as backbone.
KEYLESS: tuple[MethodName, ...] = ("center",)


class BoxesConfig(StrictModel):
    """How boxes are found. No method sees a label or a true box."""

    method: MethodName
    """`lost`: the paper's. `token_cut`: better on the same keys. Controls: `center` looks at nothing;
    `random_area_matched` puts LOST's box at a random place. All but `center` need a vision transformer as backbone."""
    resolution: Literal["stored", "original"]
    """Pixels that the annotator sees: the squares of data/images, or the images as their files have them."""
    input_size: int | None = Field(ge=16, le=4096)
    """Side that the shorter side is resized to for the backbone, pixels, aspect kept; null: not resized, as LOST. The
    more patches, the finer the box: small images gain from 14 patches a side and more."""
    k_patches: int | None = Field(ge=1, le=1_000_000)
    """lost, random_area_matched: patches that may vote for the object; the paper's 100 was chosen at about 770 patches.
    null: an eighth of the patches."""
    subtract_mean_key: bool
    """lost, token_cut, random_area_matched: subtract the mean of the image's keys from each before. The papers do not.
    Keys of a small network that is trained here have a large common part, so that nearly all products are positive."""
    tau: float = Field(ge=-1, le=1)
    """token_cut: least cosine of two patches that belong together; the paper's is 0.2."""
    center_area: float = Field(gt=0, le=1)
    """center: the box's share of the image's area."""
    batch_size: BatchSize
    """Images per rank and step; those of equal size run through the backbone together."""
    precision: Precision
    """Of the backbone; dot products of keys are float32 in any case."""
