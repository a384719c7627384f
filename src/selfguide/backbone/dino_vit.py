"""Variant `dino_vit`: a vision transformer trained here by self-distillation (DINO, Caron et al., ICCV 2021)."""

import math
import warnings

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from selfguide.backbone.augment import View, apply_view, draw_view
from selfguide.backbone.config import BackboneConfig
from selfguide.backbone.objective import Objective


def vision_transformer(input_size: int, patch_size: int, width: int, depth: int, num_heads: int) -> nn.Module:
    """float32 (B, 3, s, s) => the [CLS] token after the final norm, (B, width), for any s that patches divide."""
    network: nn.Module = VisionTransformer(
        img_size=input_size, patch_size=patch_size, embed_dim=width, depth=depth, num_heads=num_heads,
        num_classes=0, global_pool="token", dynamic_img_size=True,
    )  # fmt: skip
    return network


class DINO(Objective):
    """Cross-entropy of a student's outputs under a teacher's, the student's moving average, over differing crops.

    The teacher sees two large crops, the student these and several small ones of half the side.

    Args:
        config: temperatures, momentum, crops and augmentation.
        size: s, the side of the large crops.
    """

    def __init__(self, config: BackboneConfig, size: int) -> None:
        super().__init__()
        dino = config.dino
        self.config, self.size = config, size
        self.small = max(1, size // 2 // dino.patch_size) * dino.patch_size

        def with_head() -> tuple[nn.Module, DINOProjectionHead]:
            network = vision_transformer(size, dino.patch_size, config.width, dino.depth, dino.num_heads)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # lightly still uses torch's first weight_norm
                head = DINOProjectionHead(config.width, 4 * config.width, 256, dino.num_prototypes)
            return network, head

        self.network, self.head = with_head()
        self.teacher, self.teacher_head = with_head()
        for student, teacher in self._pairs():
            teacher.load_state_dict(student.state_dict())
            teacher.requires_grad_(False)
        self.criterion = DINOLoss(
            dino.num_prototypes,
            warmup_teacher_temp=dino.teacher_temperature,
            teacher_temp=dino.teacher_temperature,
            warmup_teacher_temp_epochs=1,
            student_temp=config.temperature,
        )

    def _pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.network, self.teacher), (self.head, self.teacher_head)]

    def draw(self, batch_size: int, generator: torch.Generator) -> list[View]:
        """The views of a step, large ones first."""
        border = self.config.dino.local_crop_scale
        scales = [(border, 1.0)] * 2
        scales += [(min(self.config.augmentation.crop_scale, border), border)] * self.config.dino.num_local_crops
        return [draw_view(batch_size, self.config.augmentation, generator, scale) for scale in scales]

    def forward(self, images: Tensor, views: list[View]) -> Tensor:
        """float32 (B, 3, s, s) in [0, 1] => loss."""
        large = torch.cat([apply_view(images, view, self.size) for view in views[:2]]).mul_(2).sub_(1)
        with torch.no_grad():
            targets = self.teacher_head(self.teacher(large)).float()
        outputs = [self.head(self.network(large))]
        if views[2:]:
            small = torch.cat([apply_view(images, view, self.small) for view in views[2:]]).mul_(2).sub_(1)
            outputs.append(self.head(self.network(small)))
        students = torch.cat(outputs).float().chunk(len(views))
        loss: Tensor = self.criterion(list(targets.chunk(2)), list(students))
        return loss

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the teacher; its decay rises to 1 along a cosine."""
        decay = 1 - (1 - self.config.dino.teacher_momentum) * (1 + math.cos(math.pi * progress)) / 2
        for student, teacher in self._pairs():
            torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - decay)
