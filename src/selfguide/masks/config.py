"""The section `masks`: how images are segmented, and the segmenter, which turns features of patches into classes."""

from typing import Annotated, Literal

from pydantic import Field

from selfguide.core.config import BatchSize, LearningRate, Steps, StrictModel

MethodName = Literal["stego", "smooseg", "kmeans_patches", "pca", "primaps"]
_Shift = Annotated[float, Field(ge=-2, le=2)]
_Weight = Annotated[float, Field(ge=0, le=1000)]


class StegoConfig(StrictModel):
    """What only `stego` reads."""

    preset: Literal["shipped", "cocostuff_vit_s", "cocostuff_vit_b", "cityscapes", "potsdam", "own"]
    """Published weights and shifts (`shipped`: the configuration that comes with the code, and that the paper's runs
    used), or `own`, below."""
    weights: tuple[_Weight, _Weight, _Weight]
    """own: of the terms of an image with itself, with a neighbour, and with others."""
    shifts: tuple[_Shift, _Shift, _Shift]
    """own: b of the three terms; higher drives codes apart, lower draws them together."""
    num_neighbours: int = Field(ge=1, le=30)
    """A neighbour is drawn from so many nearest."""
    num_negatives: int = Field(ge=1, le=100)
    """Other images that each is compared with in a step."""
    pointwise: bool
    """Centre the features' cosines at each position."""
    zero_clamp: bool
    """Cosines of codes below 0 count as 0."""
    stabilize: bool
    """Cosines of codes above 0.8 count as 0.8."""


class SmooSegConfig(StrictModel):
    """What only `smooseg` reads."""

    shifts: tuple[_Shift, _Shift]
    """Added to the features' cosines within an image and between two; higher draws labels together."""
    temperature: float = Field(ge=1e-4, le=1e4)
    """Of the labels."""
    prototype_decay: float = Field(ge=0, lt=1)
    """Of the prototypes' moving average, which labels are assigned by."""


class SegmenterConfig(StrictModel):
    """What turns features of patches into one of K classes. No method sees a label or a true mask."""

    method: MethodName
    """`stego`: the paper's. `smooseg`: no neighbours, fewer settings. Controls, without a head: `kmeans_patches`
    clusters the features, `pca` their leading components, `primaps` the masks that each image falls into."""
    num_classes: int = Field(ge=1, le=255)
    """K; 27 for COCO-Stuff, 21 for VOC."""
    width: int = Field(ge=1, le=4096)
    """stego, smooseg: of the codes (70; SmooSeg: 64). pca: components."""
    dropout: float = Field(ge=0, lt=1)
    """stego, smooseg: share of the channels."""
    num_samples: int = Field(ge=1, le=64)
    """stego: positions a side that are compared. smooseg: its square is their number."""
    subtract_mean: bool
    """Subtract the mean feature of all patches first. The papers do not. Features of a small network that is trained
    here have a large common part, beside which differences are small."""
    batch_size: BatchSize
    """stego, smooseg: images per step."""
    max_steps: Steps
    """stego, smooseg: the last step's weights are used, never a choice by labels."""
    learning_rate: LearningRate
    """stego (5e-4), smooseg (1e-4): Adam's for the head."""
    probe_learning_rate: LearningRate
    """stego (5e-3), smooseg (5e-4): Adam's for the clusters."""
    revive_every_steps: Steps | None
    """stego, smooseg: clusters that next to nothing is nearest to are put where the others serve worst, so often; null:
    they stay empty (the papers)."""
    refit_clusters: bool
    """stego, smooseg: k-means of the trained codes, from the trained clusters on, until it comes to rest; the papers do
    not."""
    checkpoint_every_steps: Steps
    """A killed training goes on from there."""
    max_patches: int = Field(ge=1, le=100_000_000)
    """Of k-means: patches that it runs on, at most; primaps: images times 16."""
    stego: StegoConfig
    smooseg: SmooSegConfig


class MasksConfig(StrictModel):
    """How images are segmented."""

    mirror: bool
    """Mean of the codes of the image and of its mirror image."""
    crf: bool
    """Sharpen edges by a dense CRF on the pixels (needs `pip install pydensecrf2`): a second an image."""
    batch_size: BatchSize
    """Images per rank and step."""
    picture_columns: int = Field(ge=1, le=64)
    """Images in a row of the picture."""
    segmenter: SegmenterConfig
