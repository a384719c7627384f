"""The kinds of guidance. The dial, the stage script, the stages of dvc.yaml and the studies follow from this table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from selfguide.annotations import annotate
from selfguide.annotations.artifact import Annotation
from selfguide.boxes.artifact import FoundBoxes
from selfguide.clusters.artifact import Clusters
from selfguide.images.artifact import ImageSet
from selfguide.masks.artifact import FoundMasks

#: What an annotation may be made of: its folder, and how it is read from there.
INPUTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "images": ("data/images", ImageSet.load),
    "backbone": ("models/backbone", Path),
    "clusters": ("data/clusters", Clusters.load),
    "boxes": ("data/boxes", FoundBoxes.load),
    "segmenter": ("models/segmenter", Path),
    "masks": ("data/masks", FoundMasks.load),
}


@dataclass(frozen=True)
class Kind:
    """A kind of guidance.

    Attributes:
        make: turns the inputs into the annotation.
        inputs: keys of `INPUTS`, the arguments of `make`; a stage of dvc.yaml writes each.
        where: the kind of place in its signal, a key of `selfguide.signal.where.WHERE`; None: ids alone.
        truth: what the data set must know of its images.
    """

    make: Callable[..., Annotation]
    inputs: tuple[str, ...]
    where: str | None = None
    truth: tuple[Literal["labels", "boxes", "masks"], ...] = ()

    @property
    def is_self_guided(self) -> bool:
        """Whether a backbone stands in for annotation; nothing of the data set but pixels is looked at then."""
        return "images" not in self.inputs

    @property
    def has_clusters(self) -> bool:
        """Whether ids are k-means clusters."""
        return "clusters" in self.inputs


KINDS: dict[str, Kind] = {
    "none": Kind(annotate.none, ("images",)),
    "ground_truth_label": Kind(annotate.ground_truth_label, ("images",), truth=("labels",)),
    "self_labeled": Kind(annotate.self_labeled, ("clusters",)),
    "self_boxed": Kind(annotate.self_boxed, ("clusters", "boxes", "backbone"), "boxes"),
    "ground_truth_boxed": Kind(annotate.ground_truth_boxed, ("images",), "boxes", ("labels", "boxes")),
    "self_segmented": Kind(annotate.self_segmented, ("masks", "segmenter", "backbone"), "masks"),
    "ground_truth_segmented": Kind(annotate.ground_truth_segmented, ("images",), "masks", ("masks",)),
}
