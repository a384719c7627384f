"""What codes know of true classes: a linear classifier of them, trained on half of the images, scored on the rest."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from selfguide.core.artifact import Array
from selfguide.core.seeding import derive_seed
from selfguide.masks.build import seen_by
from selfguide.masks.metrics import HungarianScores, count_pairs, fixed_scores
from selfguide.masks.segment import centres, codes_at
from selfguide.masks.segmenter import Segmenter
from selfguide.patches.artifact import PatchSet

#: Images that are looked at, at most; Adam's steps, rate and pixels a step.
_MOST, _STEPS, _RATE, _BATCH = 1000, 500, 5e-3, 4096


def linear_scores(
    segmenter: Segmenter, patches: PatchSet, truth: Array, num_classes: int, mirror: bool, seed: int
) -> HungarianScores | None:
    """Accuracy and mean IoU of a linear classifier of the codes; the segmenter learns nothing from it.

    Args:
        segmenter: frozen.
        patches: of the images.
        truth: uint8 (N, S, S), 255 = void.
        num_classes: of the truth.
        mirror: as the codes are used.
        seed: of the classifier.

    Returns:
        None where a half has no valid pixel, or there are fewer than two images.
    """
    images, first = np.unique(patches.grids.images, return_index=True)
    images, first = images[:_MOST], first[:_MOST]
    halves: list[tuple[Tensor, Tensor]] = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        codes, labels = [], []
        for image, row in zip(images[half], first[half], strict=True):
            target = torch.from_numpy(np.array(truth[row])).long()
            seen = seen_by(patches, int(image), mirror, torch.device("cpu"))
            y, x = centres(patches.grids.windows[row], (target.shape[0], target.shape[1]))
            with torch.no_grad():
                code = codes_at(segmenter.cpu(), seen, y, x)
            valid = target < num_classes
            codes.append(code[valid])
            labels.append(target[valid])
        if not codes or not sum(map(len, labels)):
            return None
        halves.append((torch.cat(codes), torch.cat(labels)))
    (codes_a, labels_a), (codes_b, labels_b) = halves
    mean, scale = codes_a.mean(dim=0), codes_a.std(dim=0).clamp(min=1e-6)
    generator = torch.Generator().manual_seed(derive_seed(seed, "masks", "linear probe"))
    layer = torch.nn.Linear(codes_a.shape[1], num_classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(layer.parameters(), lr=_RATE)
    with torch.enable_grad():
        for _ in range(_STEPS):
            rows = torch.randint(len(labels_a), (min(_BATCH, len(labels_a)),), generator=generator)
            loss = F.cross_entropy(layer((codes_a[rows] - mean) / scale), labels_a[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    with torch.no_grad():
        found = layer((codes_b - mean) / scale).argmax(dim=1).numpy()
    return fixed_scores(count_pairs(found, labels_b.numpy(), num_classes, num_classes))
