"""Section `images` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from selfguide.core.config import StrictModel

SourceName = Literal["scenes", "digits", "image_folder", "cifar10", "cifar100", "imagenet32", "imagenet64", "arrays"]
Crop = Literal["center", "squash"]

Path = Annotated[str, Field(min_length=1)]
Paths = Path | Annotated[tuple[Path, ...], Field(min_length=1)] | None


class ImagesConfig(StrictModel):
    """Which images, at which size, and how they are split."""

    source: SourceName
    """Where the images come from; `scenes` and `digits` need no files."""
    path: Paths
    """image_folder: a folder, a .zip, or a list of them. arrays: a .npy (memory-mapped) or .npz (read whole). cifar10,
    cifar100: the folder that holds (or receives) torchvision's files. imagenet32, imagenet64: the folder of the
    unpacked archives. scenes, digits: null."""
    heldout_path: Paths
    """image_folder, arrays: where held-out images come from; null splits them off at random. Else null."""
    download: bool
    """cifar10, cifar100: download into `path` when it is not there. Else false."""
    unreadable: Literal["error", "skip"]
    """A file that cannot be decoded stops the stage, which names all such files, or is left out and counted."""
    size: int = Field(ge=8, le=1024)
    """Side of the square images in pixels."""
    crop: Crop
    """`center` crops the central square, `squash` changes the aspect ratio; then both resize."""
    num_train: int | None = Field(ge=1)
    """Number of training images, drawn at random; null takes all that are not held out."""
    num_heldout: int = Field(ge=0)
    """Number of held-out images. cifar10 and cifar100 take them from their test set, imagenet32 and imagenet64 from
    their validation set."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        files = self.source in ("image_folder", "arrays")
        cifar = self.source in ("cifar10", "cifar100")
        made_here = self.source in ("scenes", "digits")
        if self.path is None and not made_here:
            raise ValueError(f"path: source {self.source} needs one")
        if self.path is not None and made_here:
            raise ValueError(f"path: source {self.source} makes its own images; set path to null")
        if isinstance(self.path, tuple) and self.source != "image_folder":
            raise ValueError(f"path: source {self.source} takes one path, not a list")
        if self.heldout_path is not None and not files:
            raise ValueError(f"heldout_path: source {self.source} brings its own; set heldout_path to null")
        if isinstance(self.heldout_path, tuple) and self.source != "image_folder":
            raise ValueError(f"heldout_path: source {self.source} takes one path, not a list")
        if self.heldout_path is not None and self.num_heldout == 0:
            raise ValueError("num_heldout: heldout_path is given, but 0 images are asked of it; set one or the other")
        if self.download and not cifar:
            raise ValueError(f"download: only cifar10 and cifar100 are downloaded, not {self.source}; set it to false")
        if self.num_train is None and self.source == "scenes":
            raise ValueError("num_train: scenes has no end; set a number, e.g. 5000")
        return self
