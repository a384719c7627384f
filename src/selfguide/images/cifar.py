"""Sources `cifar10` and `cifar100`, read by torchvision; held-out images come from the test set."""

import numpy as np

from selfguide.core.errors import UserError
from selfguide.images.config import ImagesConfig
from selfguide.images.pixels import PixelSource
from selfguide.images.source import Sources


def open_cifar(config: ImagesConfig, seed: int) -> Sources:
    """Open, and download where asked to.

    Raises:
        UserError: the files are not there and not to be downloaded, or the download fails.
    """
    return Sources(_open(config, train=True), _open(config, train=False) if config.num_heldout else None)


def _open(config: ImagesConfig, train: bool) -> PixelSource:
    import torchvision.datasets  # brings torch

    kind = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[config.source]
    try:
        found = kind(str(config.path), train=train, download=config.download)
    except RuntimeError:  # torchvision: files missing or of another checksum
        raise UserError(
            f"images.path: {config.path}: expected torchvision's {kind.base_folder}/ with its files whole, found none; "
            f"unpack {kind.url} there, or set images.download to true"
        ) from None
    except OSError as error:
        raise UserError(
            f"images.download: {kind.url} cannot be fetched into {config.path} ({error}); "
            "unpack it there by hand and set images.download to false, or use source scenes or digits"
        ) from None
    split = "train" if train else "test"
    labels = np.asarray(found.targets, dtype=np.int32)
    return PixelSource(f"the {split} set of {config.source}", np.asarray(found.data), labels, found.classes)
