"""Section `images` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from selfguide.core.config import FilePath, NumImages, StrictModel

SourceName = Literal[
    "scenes",
    "digits",
    "image_folder",
    "voc",
    "coco",
    "masked_folder",
    "cocostuff27",
    "cifar10",
    "cifar100",
    "imagenet32",
    "imagenet64",
    "arrays",
]
Crop = Literal["center", "squash", "random"]

#: Data sets that are the same everywhere: images to train on, and to hold out (None: these are split off the others).
SIZES: dict[SourceName, tuple[int, int | None]] = {
    "digits": (1797, None),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenet32": (1_281_167, 50_000),
    "imagenet64": (1_281_167, 50_000),
}
#: Sources whose number of classes is known without their files.
NUM_CLASSES: dict[SourceName, int] = {
    "scenes": 10, "digits": 10, "cocostuff27": 27, "cifar10": 10, "cifar100": 100, "imagenet32": 1000,
    "imagenet64": 1000,
}  # fmt: skip
#: Sources that can have boxes.
WITH_BOXES: tuple[SourceName, ...] = ("scenes", "voc", "coco")
#: Sources of pictures and masks in two folders.
MASK_FOLDERS: tuple[SourceName, ...] = ("masked_folder", "cocostuff27")
#: Of what a guidance may need to know, the sources that may have it; of what is not here, any may.
WITH_TRUTH: dict[str, tuple[SourceName, ...]] = {
    "boxes": WITH_BOXES,
    "masks": ("scenes", "voc", *MASK_FOLDERS),
}

Path = FilePath
Paths = Path | Annotated[tuple[Path, ...], Field(min_length=1)] | None


class ImagesConfig(StrictModel):
    """Which images, at which size, and how they are split."""

    source: SourceName
    """Where the images come from; `scenes` and `digits` need no files."""
    path: Paths
    """image_folder: a folder, a .zip, or a list of them. voc, coco, masked_folder, cocostuff27: a folder or a .zip.
    arrays: a .npy (memory-mapped) or .npz (read whole). cifar10, cifar100: the folder that holds (or receives)
    torchvision's files. imagenet32, imagenet64: the folder of the unpacked archives. scenes, digits: null."""
    heldout_path: Paths
    """image_folder, arrays: where held-out images come from; null splits them off at random. Else null. Of image_folder
    it may be a part of `path`: the rest are the training images then."""
    split: Path | None
    """voc: which images, a list of ImageSets such as `Main/train` (or `train`), or `segmentation_aug`, every image with
    a mask in SegmentationClassAug; null: every image with an annotation or, where `masks` are read, with a mask. coco,
    masked_folder, cocostuff27: a text file with the name of one image a line; null: every image of `annotations`, or of
    `path`. Else null."""
    heldout_split: Path | None
    """The same sources: the same for held-out images, of the same path; null splits them off at random. Else null."""
    annotations: Path | None
    """coco: the JSON of instances. Else null."""
    masks: Path | None
    """masked_folder: a folder or .zip with a mask for each image, of the same name but for the extension. cocostuff27:
    that of the stuffthingmaps. voc: a folder of the devkit, such as SegmentationClass; null: masks are not read. Else
    null."""
    mask_classes: Path | None
    """voc, masked_folder: a text file, by itself or in `path`, with one class a line, `NAME` or `VALUE NAME`; null:
    classes.txt in `path` or, of masked_folder, in `masks`; of voc, where it has none, VOC's own. Else null."""
    download: bool
    """cifar10, cifar100: download into `path` when it is not there. Else false."""
    unreadable: Literal["error", "skip"]
    """An image that cannot be decoded, or whose boxes or mask cannot be right, stops the stage, which names all such
    images, or is left out and counted."""
    max_pixels: int = Field(ge=1)
    """Width times height above which a file, of an image or a mask, is unreadable. Its header decides, before memory is
    taken for its pixels: a small file may claim to be huge."""
    size: int = Field(ge=8, le=1024)
    """Side of the square images in pixels."""
    crop: Crop
    """`center` keeps the central square, `squash` everything, changing the aspect ratio, `random` a square at a random
    place; then each resizes."""
    crop_scale: tuple[float, float]
    """crop `random`: range of the factor by which the square is smaller than the shorter side. The paper's code takes
    1.05 to 1.25."""
    num_views: int = Field(ge=1, le=1000)
    """crop `random`: how often each training image is written, each time with another square. Else 1."""
    scene_objects: int = Field(ge=1, le=16)
    """scenes: the largest number of objects in an image. Else 1."""
    num_train: NumImages | None
    """Number of training images, drawn at random, before `num_views` multiplies them; null takes all that are not held
    out."""
    num_heldout: int = Field(ge=0, le=1_000_000_000)
    """Number of held-out images. cifar10 and cifar100 take them from their test set, imagenet32 and imagenet64 from
    their validation set."""

    @property
    def num_rows(self) -> int | None:
        """Training images that are written, each view counted; None: it depends on files."""
        num = self.num_train
        if num is None and self.source in SIZES:
            train, heldout = SIZES[self.source]
            num = train - self.num_heldout if heldout is None else train
        return None if num is None else num * self.num_views

    @model_validator(mode="after")
    def _check(self) -> Self:
        files = self.source in ("image_folder", "arrays")
        listed = self.source in ("voc", "coco", *MASK_FOLDERS)
        cifar = self.source in ("cifar10", "cifar100")
        made_here = self.source in ("scenes", "digits")
        if self.path is None and not made_here:
            raise ValueError(f"path: source {self.source} needs one")
        if self.path is not None and made_here:
            raise ValueError(f"path: source {self.source} makes its own images; set path to null")
        if isinstance(self.path, tuple) and self.source != "image_folder":
            raise ValueError(f"path: source {self.source} takes one path, not a list")
        if self.heldout_path is not None and not files:
            where = "takes them from path (see heldout_split)" if listed else "brings its own"
            raise ValueError(f"heldout_path: source {self.source} {where}; set heldout_path to null")
        if isinstance(self.heldout_path, tuple) and self.source != "image_folder":
            raise ValueError(f"heldout_path: source {self.source} takes one path, not a list")
        if self.heldout_path is not None and self.num_heldout == 0:
            raise ValueError("num_heldout: heldout_path is given, but 0 images are asked of it; set one or the other")
        if self.download and not cifar:
            raise ValueError(f"download: only cifar10 and cifar100 are downloaded, not {self.source}; set it to false")
        if self.num_train is None and self.source == "scenes":
            raise ValueError("num_train: scenes has no end; set a number, e.g. 5000")
        self._check_counts()
        self._check_listed(listed)
        self._check_masks()
        self._check_crop(made_here)
        if self.scene_objects > 1 and self.source != "scenes":
            raise ValueError(f"scene_objects: source {self.source} draws no scenes; set it to 1")
        return self

    def _check_counts(self) -> None:
        train, heldout = SIZES.get(self.source, (None, None))
        if train is None:
            return
        if heldout is not None and self.num_heldout > heldout:
            raise ValueError(f"num_heldout: {self.source} has {heldout} images to hold out, found {self.num_heldout}")
        split_off = self.num_heldout if heldout is None else 0
        if (self.num_train or 1) + split_off > train:
            found = "null" if self.num_train is None else self.num_train
            both = f" beside num_heldout {split_off}" if split_off else ""
            raise ValueError(f"num_train: {self.source} has {train} images, found {found}{both}")

    def _check_listed(self, listed: bool) -> None:
        for key in ("split", "heldout_split"):
            if getattr(self, key) is not None and not listed:
                which = f"voc, coco, {' and '.join(MASK_FOLDERS)}"
                raise ValueError(f"{key}: only {which} have splits, not {self.source}; set it to null")
        if self.heldout_split is not None and self.num_heldout == 0:
            raise ValueError("num_heldout: heldout_split is given, but 0 images are asked of it; set one or the other")
        if self.source == "coco" and self.annotations is None:
            raise ValueError("annotations: source coco needs the JSON of instances, found null")
        if self.source != "coco" and self.annotations is not None:
            raise ValueError(f"annotations: only coco reads a JSON, not {self.source}; set it to null")

    def _check_masks(self) -> None:
        folders = self.source in MASK_FOLDERS
        if self.masks is None and folders:
            raise ValueError(f"masks: source {self.source} needs a folder or .zip of masks, found null")
        if self.masks is not None and not folders and self.source != "voc":
            which = f"voc, {' and '.join(MASK_FOLDERS)}"
            raise ValueError(f"masks: only {which} read masks, not {self.source}; set it to null")
        if self.mask_classes is None:
            return
        if self.source == "cocostuff27":
            raise ValueError("mask_classes: cocostuff27 has 27 classes of its own; set it to null")
        if self.masks is None:
            raise ValueError("mask_classes: there are no masks (masks is null); set it to null")

    def _check_crop(self, made_here: bool) -> None:
        if self.crop == "random" and made_here:
            raise ValueError(f"crop: images of {self.source} are whole squares; set it to center")
        low, high = self.crop_scale
        if not 1 <= low <= high <= 100:
            raise ValueError(f"crop_scale: expected two factors, 1 <= low <= high <= 100, found {low}, {high}")
        if self.num_views > 1 and self.crop != "random":
            raise ValueError(f"num_views: {self.crop} gives one view of an image; set it to 1, or crop to random")
