"""The Inception-v3 of FID (2015-12-05) as TorchScript, with clean-fid's "clean" resize: the only space called `fid`."""

import hashlib
import tempfile
import urllib.error
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfguide.core.errors import UserError
from selfguide.metrics.networks.network import FeatureNetwork
from selfguide.metrics.networks.weights import named_weights

FILE = "inception-2015-12-05.pt"
URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{FILE}"
SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"


def find_weights() -> Path:
    """The TorchScript file: from SELFGUIDE_WEIGHTS (a folder, or the file), torch's hub cache or clean-fid's place.

    Where it is in none of them, it is downloaded into torch's hub cache.

    Raises:
        UserError: it is in none of these places and cannot be downloaded, or SELFGUIDE_WEIGHTS names no folder or file.
    """
    named = named_weights(FILE)
    if named is not None:
        return named
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in (cache, Path(tempfile.gettempdir())):
        if (folder / FILE).is_file():
            return folder / FILE
    try:
        cache.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(cache / FILE), hash_prefix=SHA256, progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"inception: {FILE} is missing and cannot be downloaded ({error}); fetch {URL} where there is a network, "
            f"then put it into {cache}, or into any folder and set SELFGUIDE_WEIGHTS to that folder"
        ) from None
    return cache / FILE


@lru_cache(maxsize=8)
def bicubic_matrix(size: int) -> Tensor:
    """Pillow's bicubic filter (a = -0.5, antialiased when shrinking) from `size` to 299 samples, as a matrix.

    Returns:
        float64 (299, size); each row sums to 1.
    """
    scale = size / 299
    width = max(scale, 1.0)
    centres = (np.arange(299) + 0.5) * scale
    first = np.maximum((centres - 2 * width + 0.5).astype(np.int64), 0)[:, None]
    last = np.minimum((centres + 2 * width + 0.5).astype(np.int64), size)[:, None]
    places = np.arange(size)
    x = np.abs(places - centres[:, None] + 0.5) / width
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    weights[(places < first) | (places >= last)] = 0.0
    return torch.from_numpy(weights / weights.sum(1, keepdims=True))


def clean_resize(images: Tensor) -> Tensor:
    """clean-fid's "clean" resize, on any device: Pillow's bicubic on float planes, clipped, not rounded to integers.

    Args:
        images: uint8 (B, H, W, 3).

    Returns:
        float32 (B, 3, 299, 299) in 0..255.
    """
    rows = bicubic_matrix(images.shape[1]).to(images.device)
    columns = bicubic_matrix(images.shape[2]).to(images.device)
    planes = images.permute(0, 3, 1, 2)
    # Pillow adds in float64 and keeps float32 between its two passes: bit for bit the same where height <= width.
    # (Of a taller image Pillow 13 resizes the height first; the difference is one unit in the last place.)
    planes = (planes.double() @ columns.T).float()
    return (rows @ planes.double()).float().clamp_(0, 255)


class Inception(FeatureNetwork):
    """Pool features (2048) and the 1008 logits without bias, as the Inception Score takes them.

    Raises:
        UserError: the weights are missing, or are not the known file.
    """

    name = "inception"
    key = "fid"
    width = 2048
    num_classes = 1008
    preprocessing = "clean-fid clean: Pillow bicubic to 299 in float, (x - 128) / 128"

    def __init__(self) -> None:
        super().__init__()
        path = find_weights()
        with path.open("rb") as file:
            self.weights = hashlib.file_digest(file, "sha256").hexdigest()
        if self.weights != SHA256:
            raise UserError(f"{path}: expected sha256 {SHA256}, found {self.weights}; fetch it again from {URL}")
        self.script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureNetwork.forward`."""
        features = self.script.layers((clean_resize(images) - 128) / 128).reshape(len(images), self.width)
        return features, features @ self.script.output.weight.T
