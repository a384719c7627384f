"""Every backbone by the name that `backbone.variant` gives it."""

from selfguide.backbone.pretrained import PRETRAINED, Pretrained
from selfguide.backbone.trained import TRAINED, Trained

VARIANTS: dict[str, Pretrained | Trained] = {**TRAINED, **PRETRAINED}
