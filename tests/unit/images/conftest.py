import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfguide.images.artifact import ImageSet
from selfguide.images.build import build as build_into
from selfguide.images.config import ImagesConfig


@pytest.fixture
def config() -> Callable[..., ImagesConfig]:
    def make(**changes: Any) -> ImagesConfig:
        values = {
            "source": "image_folder",
            "path": None,
            "heldout_path": None,
            "split": None,
            "heldout_split": None,
            "annotations": None,
            "masks": None,
            "mask_classes": None,
            "scene_objects": 1,
            "download": False,
            "unreadable": "error",
            "max_pixels": 180_000_000,
            "size": 8,
            "crop": "center",
            "crop_scale": (1.05, 1.25),
            "num_views": 1,
            "num_train": None,
            "num_heldout": 0,
        }
        return ImagesConfig(**{**values, **changes})

    return make


def build(config: ImagesConfig, seed: int) -> ImageSet:
    """Into a folder that is gone at once: mapped files outlive their names."""
    with tempfile.TemporaryDirectory() as folder:
        return build_into(config, seed, f"{folder}/images")


def solid(colour: Any, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(image: Image.Image, orientation: int, kind: str = "PNG", **options: Any) -> bytes:
    """A file whose EXIF says that its picture is stored in that orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif, **options)


def tree(root: Path, files: dict[str, bytes]) -> Path:
    """Write files, by path, into a folder, or into a .zip if `root` is called one."""
    if root.suffix == ".zip":
        with zipfile.ZipFile(root, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return root
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def shade(value: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A grey PNG that says which one it is."""
    return encode(solid((value, value, value), size))


def shades(pixels: np.ndarray) -> list[int]:
    return pixels[:, 0, 0, 0].tolist()
