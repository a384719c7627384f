"""Run an annotator over images under a Lightning predict loop: pixels in, one box an image out, in its own pixels."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from numpy.typing import NDArray
from torch import Tensor

from selfguide.backbone.artifact import load_backbone
from selfguide.backbone.keys import patch_size, vit_keys
from selfguide.backbone.network import Backbone, Preprocessing
from selfguide.boxes.config import BoxesConfig
from selfguide.boxes.found import whole_pixels
from selfguide.boxes.registry import METHODS, Patches
from selfguide.core.artifact import read_meta
from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows
from selfguide.core.runtime import resolve_precision
from selfguide.core.scratch import digest_code, scratch_folder
from selfguide.core.seeding import numpy_generator
from selfguide.core.workers import in_threads, num_parts

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
_READERS = 8  # threads that decode files
_AHEAD = 4096


class Images(Protocol):
    """Pixels, and nothing else that is known of the images."""

    def __len__(self) -> int:
        """Their number."""
        ...

    def read(self, i: int) -> Pixels:
        """Image i, (H, W, 3) uint8, of any size; safe to call in several threads."""
        ...


@dataclass(frozen=True)
class Stored:
    """Images of one size in an array (N, S, S, 3) uint8."""

    pixels: Pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, i: int) -> Pixels:
        """Image i."""
        return np.asarray(self.pixels[i])


@dataclass(frozen=True)
class Chosen:
    """Some of the images: number i is image `rows[i]` of `images`."""

    images: Images
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int) -> Pixels:
        """Image i."""
        return self.images.read(int(self.rows[i]))


@dataclass(frozen=True)
class Annotated:
    """What `annotate` found.

    Attributes:
        boxes: (N, 4) int32 x0, y0, x1, y1 in pixels of each image, half-open, never empty.
        fallback: (N,) bool, see `selfguide.boxes.found.Found`.
        facts: for meta.json.
    """

    boxes: NDArray[np.int32]
    fallback: NDArray[np.bool_]
    facts: dict[str, Any]


def annotate(config: BoxesConfig, images: Images, backbone: Path, seed: int) -> Annotated | None:
    """Find one box in every image; on several ranks each finds its share.

    Args:
        config: the `boxes` section; its `resolution` is a matter of who chooses the images.
        images: at least one.
        backbone: folder of the backbone; its weights run only if the method needs keys.
        seed: of `random_area_matched`; image i of seed s has the same box in any run.

    Returns:
        On rank 0 the boxes; None on other ranks.

    Raises:
        UserError: the backbone is no vision transformer, an image cannot be read, keys are not finite.
    """
    network, made_by = load_backbone(backbone), read_meta(backbone, "backbone", "backbone")
    method, precision = METHODS[config.method], resolve_precision(config.precision)
    patch = patch_size(network) if method.needs_keys else 1
    sizes, digest = _survey(images)
    inputs = [input_hw(size, config.input_size) for size in sizes]
    padded = np.array([(height + -height % patch, width + -width % patch) for height, width in inputs])
    # Images of one padded size run through the network together.
    order = np.lexsort((padded[:, 1], padded[:, 0]))

    def rows(start: int, stop: int, device: torch.device) -> Mapping[str, Tensor]:
        numbers = order[start:stop].tolist()
        keys: Mapping[int, NDArray[np.float32]] = {}
        if method.needs_keys:
            batch = {i: (pixels, inputs[i]) for i, pixels in zip(numbers, _read(images, numbers), strict=True)}
            keys = _keys(network, batch, patch, device)
        found = []
        for i in numbers:
            (height, width), (rows, columns) = sizes[i], (padded[i] // patch).tolist()
            patches = Patches(
                keys.get(i, np.empty((0, 0), np.float32)),
                (rows, columns),
                # Pixels of the image, not of the network's input.
                (patch * height / inputs[i][0], patch * width / inputs[i][1]),
                sizes[i],
            )
            try:
                box, fallback = method.find(patches, config, numpy_generator(seed, "boxes", i))
            except UserError as error:
                raise UserError(f"boxes: image {i}: {error}") from None
            found.append((*whole_pixels(box, sizes[i]), fallback))
        table = torch.tensor(found, dtype=torch.float32)  # whole numbers: exact up to 2 ** 24
        return {"boxes": table[:, :4], "fallback": table[:, 4]}

    upstream = {"pixels": digest, "backbone": made_by["digest"]}
    settings = config.model_dump(mode="json") | {"precision": precision}
    scratch = scratch_folder(
        "boxes", config=settings, seed=seed, code=digest_code("core", "backbone", "boxes"), **upstream
    )
    outputs = {"boxes": ((4,), "float32"), "fallback": ((), "uint8")}
    filled = fill_rows(network, rows, len(images), outputs, config.batch_size, scratch, "boxes", precision=precision)
    if filled is None:
        return None
    with tempfile.TemporaryDirectory() as folder, filled(Path(folder)):
        table, flags = (np.load(Path(folder) / f"{name}.npy") for name in outputs)
    boxes, fallback = np.empty(table.shape, np.int32), np.empty(len(table), np.bool_)
    boxes[order], fallback[order] = table, flags != 0
    name = f"{made_by['variant']} {made_by['digest']}"
    return Annotated(boxes, fallback, {"precision": precision, "backbone": name, "upstream": upstream})


def input_hw(size: Size, input_size: int | None) -> Size:
    """Height and width after the shorter side is resized to `input_size` (None: as it is) and the aspect is kept."""
    if input_size is None:
        return size
    height, width = size
    shorter = min(height, width)
    return round(height * input_size / shorter), round(width * input_size / shorter)


def prepare(image: Pixels, size: Size, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """An image as the network's input: resized as a whole, normalised as the backbone asks, (3, h, w) float32."""
    pixels = torch.from_numpy(np.array(image)).to(device, non_blocking=True)[None]
    return replace(preprocessing, input_size=None)(_resize(pixels, size, preprocessing))[0]


def _resize(pixels: Tensor, size: Size, preprocessing: Preprocessing) -> Tensor:
    """As the backbone's own preprocessing resizes, but to any height and width; (1, H, W, 3) uint8 or 0..255."""
    if tuple(pixels.shape[1:3]) == size:
        return pixels
    planes = pixels.permute(0, 3, 1, 2).float()
    resized = F.interpolate(planes, size, mode=preprocessing.interpolation, antialias=True).clamp_(0, 255)
    return resized.permute(0, 2, 3, 1)


def _keys(
    network: Backbone, batch: Mapping[int, tuple[Pixels, Size]], patch: int, device: torch.device
) -> dict[int, NDArray[np.float32]]:
    """Keys of each image, by its number; images of one padded size go together."""
    groups: dict[Size, list[int]] = {}
    for i, (_, (height, width)) in batch.items():
        groups.setdefault((height + -height % patch, width + -width % patch), []).append(i)
    keys: dict[int, NDArray[np.float32]] = {}
    for (height, width), members in groups.items():
        inputs = []
        for i in members:
            pixels, size = batch[i]
            image = prepare(pixels, size, network.preprocessing, device)
            inputs.append(F.pad(image, (0, width - size[1], 0, height - size[0])))
        parts = torch.stack(inputs).chunk(num_parts(device, len(inputs)))
        found = torch.cat(in_threads(lambda part: vit_keys(network, part), parts)).cpu().numpy()
        keys |= dict(zip(members, found, strict=True))
    return keys


def _read(images: Images, numbers: Sequence[int]) -> list[Pixels]:
    """Read several images at once: decoding leaves the interpreter lock alone."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(images.read, numbers))


def _survey(images: Images) -> tuple[list[Size], str]:
    """Height and width of every image, and a digest of all pixels: the boxes are of these and no others.

    Raises:
        UserError: there is no image, or one that is none.
    """
    if not len(images):
        raise UserError("boxes: expected at least one image, found none; run `dvc repro images`")

    def look(i: int) -> tuple[Size, bytes]:
        image = images.read(i)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise UserError(f"boxes: image {i}: expected uint8 (H, W, 3), found {image.dtype} {image.shape}")
        facts = f"{image.shape[0]} {image.shape[1]} ".encode()
        return (image.shape[0], image.shape[1]), hashlib.sha256(facts + image.tobytes()).digest()

    total, sizes = hashlib.sha256(), []
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(images), _AHEAD):  # `map` lists all its tasks at once
            for size, digest in pool.map(look, range(start, min(start + _AHEAD, len(images)))):
                sizes.append(size)
                total.update(digest)
    return sizes, total.hexdigest()
