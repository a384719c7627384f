"""The sources of images, by the name in params.yaml."""

from collections.abc import Callable

from selfguide.core.project import located
from selfguide.images.arrays import open_arrays
from selfguide.images.cifar import open_cifar
from selfguide.images.coco import open_coco
from selfguide.images.cocostuff import open_cocostuff27
from selfguide.images.config import MASK_FOLDERS, ImagesConfig, Paths, SourceName
from selfguide.images.digits import open_digits
from selfguide.images.image_folder import open_image_folder
from selfguide.images.imagenet import open_imagenet
from selfguide.images.masked_folder import open_masked_folder
from selfguide.images.scenes import open_scenes
from selfguide.images.source import Sources
from selfguide.images.voc import open_voc

SOURCES: dict[SourceName, Callable[[ImagesConfig, int], Sources]] = {
    "scenes": open_scenes,
    "digits": open_digits,
    "image_folder": open_image_folder,
    "voc": open_voc,
    "coco": open_coco,
    "masked_folder": open_masked_folder,
    "cocostuff27": open_cocostuff27,
    "cifar10": open_cifar,
    "cifar100": open_cifar,
    "imagenet32": open_imagenet,
    "imagenet64": open_imagenet,
    "arrays": open_arrays,
}


def open_sources(config: ImagesConfig, seed: int) -> Sources:
    """Open what `config` names; relative paths start in the project.

    Raises:
        UserError: see each source.
    """
    keys = ("path", "heldout_path", *(["masks"] if config.source in MASK_FOLDERS else []))
    paths = {key: _located(getattr(config, key)) for key in keys}
    return SOURCES[config.source](config.model_copy(update=paths), seed)


def _located(paths: Paths) -> Paths:
    if isinstance(paths, tuple):
        return tuple(located(path) for path in paths)
    return None if paths is None else located(paths)
