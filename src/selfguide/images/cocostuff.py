"""Source `cocostuff27`: COCO-Stuff (Caesar et al., 2018) in 27 classes, as STEGO and the paper use it.

    images.path     train2017/000000000009.jpg, val2017/...     the pictures
    images.masks    train2017/000000000009.png, val2017/...     stuffthingmaps: id of the category - 1; 255 is void
    images.split    one image a line, e.g. STEGO's curated/train2017/Coco164kFull_Stuff_Coarse_7.txt

Names of pictures are unique, so folders do not matter.
"""

import logging
from pathlib import PurePosixPath

from selfguide.images.config import ImagesConfig
from selfguide.images.mask_classes import MaskClasses
from selfguide.images.masked_folder import open_folders, pictures_and_masks
from selfguide.images.source import Sources

_LOG = logging.getLogger(__name__)

#: Class => the values that it has in stuffthingmaps, 0 to 181 in all: things, which COCO numbers class by class, then
#: stuff, in order of the alphabet. Values of categories that COCO has given up are among them.
FINE: dict[str, tuple[int, ...]] = {
    "electronic": (*range(71, 77),),
    "appliance": (*range(77, 83),),
    "food": (*range(51, 61),),
    "furniture": (*range(61, 71),),
    "indoor": (*range(83, 91),),
    "kitchen": (*range(43, 51),),
    "accessory": (*range(25, 33),),
    "animal": (*range(15, 25),),
    "outdoor": (*range(9, 15),),
    "person": (0,),
    "sports": (*range(33, 43),),
    "vehicle": (*range(1, 9),),
    "ceiling": (101, 102),
    "floor": (100, *range(113, 118)),
    "food-stuff": (120, 121, 152, 169),
    "furniture-stuff": (97, 106, 107, 109, 111, 122, 129, 132, 155, 160, 164),
    "raw-material": (99, 131, 138, 142),
    "textile": (91, 92, 103, 104, 108, 130, 136, 140, 151, 166, 167),
    "wall": (*range(170, 177),),
    "window": (179, 180),
    "building": (94, 95, 127, 150, 157, 165),
    "ground": (110, 124, 125, 135, 139, 143, 144, 146, 148, 153, 158),
    "plant": (93, 96, 118, 123, 128, 133, 141, 162, 168),
    "sky": (105, 156),
    "solid": (126, 134, 149, 159, 161, 181),
    "structural": (98, 112, 137, 145, 163),
    "water": (119, 147, 154, 177, 178),
}
CLASSES = MaskClasses(tuple(FINE), {value: number for number, values in enumerate(FINE.values()) for value in values})
#: Images of the lists that the paper uses.
_LISTED = {"split": 49_629, "heldout_split": 2_175}


def open_cocostuff27(config: ImagesConfig, seed: int) -> Sources:
    """List the images of the splits.

    Raises:
        UserError: as `masked_folder.open_folders`.
    """
    pictures, masks = pictures_and_masks(config)
    sources = open_folders(config, pictures, masks, lambda path: PurePosixPath(path).stem, CLASSES)
    for key, source in (("split", sources.train), ("heldout_split", sources.heldout)):
        name = getattr(config, key)
        if name is not None and source is not None and source.num_images != _LISTED[key]:
            _LOG.warning(
                "images.%s: %s: %s images; STEGO's Coco164kFull_Stuff_Coarse_7.txt, which the paper uses, has %s",
                key, name, f"{source.num_images:,}", f"{_LISTED[key]:,}",
            )  # fmt: skip
    return sources
