"""Masks that a user gives as files: a .npy, or a folder of PNGs."""

from pathlib import Path

import numpy as np
from PIL import Image

from selfguide.core.artifact import Array
from selfguide.core.errors import UserError
from selfguide.core.project import located


def read_masks(path: str | Path, side: int) -> Array:
    """Read masks.

    Args:
        path: a .npy of whole numbers (M, side, side) or (side, side), or a folder of PNGs, palette or grey, whose
            pixels are class numbers, taken in the order of their names; relative ones start in the project.
        side: of each, in pixels.

    Returns:
        (M, side, side) or (side, side).

    Raises:
        UserError: there is no such file, or it is none of the two; names the file that is wrong.
    """
    where = Path(located(str(path)))
    if where.is_dir():
        return _of_folder(where, side)
    if not where.is_file():
        raise UserError(f"masks: {path}: no such file or folder; expected a .npy, or a folder of PNGs")
    try:
        found: Array = np.load(where, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"masks: {path}: expected a .npy of class numbers, or a folder of PNGs ({error})") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.shape[-2:] != (side, side):
        told = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else "an archive"
        raise UserError(f"masks: {path}: expected whole numbers (M, {side}, {side}), found {told}")
    return found


def _of_folder(folder: Path, side: int) -> Array:
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(f"masks: {folder}: expected PNGs of class numbers, found none")
    masks = np.empty((len(files), side, side), np.uint8)
    for mask, file in zip(masks, files, strict=True):
        try:
            with Image.open(file) as image:
                if image.mode not in ("P", "L") or image.size != (side, side):
                    raise UserError(
                        f"masks: {file}: expected a palette or grey PNG of {side} x {side} class numbers, found mode"
                        f" {image.mode} of {image.width} x {image.height}"
                    )
                mask[:] = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"masks: {file}: not a PNG that can be read ({error})") from None
    return masks
