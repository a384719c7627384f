"""Grids of a backbone's features over images of any sizes: one reader for all that looks at patches.

How images are resized, padded to whole patches and put in an order in which those of one padded size go through the
network together is its own affair; who reads gets each image's grid, and where its patches lie in the image's pixels.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from numpy.typing import NDArray
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from selfguide.backbone.inputs import Pixels, Size, input_hw, padded_hw, prepare
from selfguide.backbone.keys import patch_size, vit_keys, vit_tokens
from selfguide.backbone.network import Backbone
from selfguide.backbone.registry import VARIANTS
from selfguide.core.errors import UserError
from selfguide.core.workers import in_threads, num_parts

#: `keys` and `tokens` of a vision transformer's last block, see `selfguide.backbone.keys`; `map`: what a convolutional
#: network pools into its features.
Kind = Literal["keys", "tokens", "map"]

_READERS = 8  # threads that decode files
_AHEAD = 4096
_PROBE = 64  # side of the image by which a stride is measured, pixels; every stride divides it


class Images(Protocol):
    """Pixels, and nothing else that is known of the images; safe to call in several threads."""

    def __len__(self) -> int:
        """Their number."""
        ...

    def glance(self, i: int) -> tuple[Size, bytes]:
        """Height and width of image i, and a digest that tells its pixels from others, without decoding it."""
        ...

    def read(self, i: int) -> Pixels:
        """Image i, (H, W, 3) uint8, of any size."""
        ...


@dataclass(frozen=True)
class Stored:
    """Images of one size in an array (N, S, S, 3) uint8."""

    pixels: Pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def glance(self, i: int) -> tuple[Size, bytes]:
        """Size of image i, and a digest of its pixels."""
        height, width = self.pixels.shape[1:3]
        return (height, width), hashlib.sha256(self.read(i).tobytes()).digest()

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

    def glance(self, i: int) -> tuple[Size, bytes]:
        """Size of image i, and its digest."""
        return self.images.glance(int(self.rows[i]))

    def read(self, i: int) -> Pixels:
        """Image i."""
        return self.images.read(int(self.rows[i]))


@dataclass(frozen=True)
class Patches:
    """An image as a grid of features.

    Attributes:
        features: (N, D) float32, row by row; (0, 0) where none were asked for.
        grid: rows and columns, N of them, padding included.
        scales: pixels of the image (not of the network's input) per patch along y and x.
        image_hw: height and width in pixels, without padding.
    """

    features: NDArray[np.float32]
    grid: tuple[int, int]
    scales: tuple[float, float]
    image_hw: Size


@dataclass(frozen=True)
class PatchBatch:
    """Some images.

    Attributes:
        numbers: which of the images each of the B is.
        patches: B grids.
        digests: (B, 32) uint8, sha256 of each image's size and pixels.
    """

    numbers: list[int]
    patches: list[Patches]
    digests: Tensor


class PatchReader:
    """Reads images in an order of its own, each once: call `read` on slices of 0..N-1, in `core.rows.fill_rows`.

    Args:
        backbone: the network.
        images: at least one.
        kind: of features; None: none, pixels alone are read.
        input_size: side that the shorter side is resized to, aspect kept; None: not resized.
        where: names the stage in messages.

    Attributes:
        fingerprint: tells what these images are decoded from apart from others, so that an interrupted pass goes on
            with the same alone.

    Raises:
        UserError: there is no image, or the network has no such features; what `images` raise.
    """

    def __init__(
        self, backbone: Backbone, images: Images, kind: Kind | None, input_size: int | None, where: str
    ) -> None:
        if not len(images):
            raise UserError(f"{where}: expected at least one image, found none; run `dvc repro images`")
        self._where = where
        self._patch = 1 if kind is None else patch_side(backbone, kind)
        self._backbone, self._images, self._kind = backbone, images, kind
        self._sizes, self.fingerprint = _survey(images)
        self._inputs = [input_hw(size, input_size) for size in self._sizes]
        padded = np.array([padded_hw(size, self._patch) for size in self._inputs])
        self._grids = padded // self._patch
        self._order = np.lexsort((padded[:, 1], padded[:, 0]))

    def read(self, start: int, stop: int, device: torch.device) -> PatchBatch:
        """The images start..stop-1 of the reader's order; the network is on the device.

        Raises:
            UserError: an image cannot be read, or is none of the size that it was at first glance.
        """
        numbers = self._order[start:stop].tolist()
        with ThreadPoolExecutor(_READERS) as pool:  # decoding leaves the interpreter lock alone
            read = list(pool.map(self._read, numbers))
        pixels = {i: image for i, (image, _) in zip(numbers, read, strict=True)}
        features = {} if self._kind is None else self._features(self._kind, pixels, device)
        none = np.empty((0, 0), np.float32)
        patches = [self._patches(i, features.get(i, none)) for i in numbers]
        digests = np.frombuffer(b"".join(digest for _, digest in read), np.uint8).reshape(-1, 32)
        return PatchBatch(numbers, patches, torch.from_numpy(digests.copy()))

    @property
    def most_patches(self) -> int:
        """Of the images, padding included."""
        return int(self._grids.prod(axis=1).max())

    def layout(self, i: int) -> Patches:
        """Grid, scales and size of image i, without features."""
        return self._patches(i, np.empty((0, 0), np.float32))

    def by_image(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows (N, ...) in the reader's order => in the images' own."""
        ordered = np.empty_like(rows)
        ordered[self._order] = rows
        return ordered

    def _read(self, i: int) -> tuple[Pixels, bytes]:
        image = self._images.read(i)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            found = f"{image.dtype} {image.shape}"
            raise UserError(f"{self._where}: image {i}: expected uint8 (H, W, 3), found {found}")
        height, width = image.shape[:2]
        if (height, width) != self._sizes[i]:
            expected = "{1} x {0} pixels".format(*self._sizes[i])
            raise UserError(
                f"{self._where}: image {i}: expected {expected}, as at first, found {width} x {height}: its file"
                " changed meanwhile; run the stage again"
            )
        return image, hashlib.sha256(f"{height} {width} ".encode() + image.tobytes()).digest()

    def _patches(self, i: int, features: NDArray[np.float32]) -> Patches:
        (height, width), (input_height, input_width) = self._sizes[i], self._inputs[i]
        rows, columns = self._grids[i].tolist()
        scales = self._patch * height / input_height, self._patch * width / input_width
        return Patches(features, (rows, columns), scales, (height, width))

    def _features(
        self, kind: Kind, pixels: Mapping[int, Pixels], device: torch.device
    ) -> dict[int, NDArray[np.float32]]:
        """Features of each image, by its number; images of one padded size go together."""
        groups: dict[Size, list[int]] = {}
        for i in pixels:
            groups.setdefault(padded_hw(self._inputs[i], self._patch), []).append(i)
        features: dict[int, NDArray[np.float32]] = {}
        for (height, width), members in groups.items():
            inputs = []
            for i in members:
                size = self._inputs[i]
                image = prepare(pixels[i], size, self._backbone.preprocessing, device)
                inputs.append(F.pad(image, (0, width - size[1], 0, height - size[0])))
            parts = torch.stack(inputs).chunk(num_parts(device, len(inputs)))
            found = torch.cat(in_threads(lambda part: patch_features(self._backbone, part, kind), parts))
            features |= dict(zip(members, found.cpu().numpy(), strict=True))
        return features


def patch_side(backbone: Backbone, kind: Kind) -> int:
    """Pixels of the network's input per patch.

    Raises:
        UserError: the network has no features of that kind.
    """
    if kind != "map":
        return patch_size(backbone)
    weight = next(backbone.network.parameters())
    return _PROBE // _map(backbone, weight.new_zeros(1, 3, _PROBE, _PROBE)).shape[-1]


def patch_width(backbone: Backbone, kind: Kind) -> int:
    """D, the length of a patch's features."""
    side = patch_side(backbone, kind) if kind != "map" else _PROBE
    weight = next(backbone.network.parameters())
    return int(patch_features(backbone, weight.new_zeros(1, 3, side, side), kind).shape[-1])


def patch_features(backbone: Backbone, images: Tensor, kind: Kind) -> Tensor:
    """Features of every patch.

    Args:
        backbone: the network, in eval mode.
        images: normalised floats (B, 3, H, W) of whole patches.
        kind: which features.

    Returns:
        float32 (B, N, D), row by row.

    Raises:
        UserError: the network has no features of that kind.
    """
    if kind == "map":
        return _map(backbone, images).flatten(2).mT.float().contiguous()
    return vit_keys(backbone, images) if kind == "keys" else vit_tokens(backbone, images)


@torch.no_grad()
def _map(backbone: Backbone, images: Tensor) -> Tensor:
    """(B, 3, H, W) => (B, D, rows, columns), what the network pools."""
    network: Any = backbone.network
    if isinstance(network, (VisionTransformer, Eva)) or not hasattr(network, "forward_features"):
        known = sorted(name for name, variant in VARIANTS.items() if variant.token == "pooled")
        raise UserError(
            f"backbone.variant: the network is a {type(network).__name__}, which has no map of features; expected a"
            f" convolutional one: {', '.join(known)}"
        )
    found: Tensor = network.forward_features(images.contiguous(memory_format=torch.channels_last))
    return found


def _survey(images: Images) -> tuple[list[Size], str]:
    """Height and width of every image, and a digest of what all are decoded from."""
    total, sizes = hashlib.sha256(), []
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(images), _AHEAD):  # `map` lists all its tasks at once
            for size, digest in pool.map(images.glance, range(start, min(start + _AHEAD, len(images)))):
                sizes.append(size)
                total.update("{} {} ".format(*size).encode() + digest)
    return sizes, total.hexdigest()
