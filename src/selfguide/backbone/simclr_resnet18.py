"""Variant `simclr_resnet18`: ResNet-18 with a small-image stem, trained here with SimCLR (Chen et al., ICML 2020)."""

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from selfguide.backbone.augment import View, apply_view, draw_view
from selfguide.backbone.config import BackboneConfig
from selfguide.backbone.objective import Objective


class ResNet18(nn.Module):
    """ResNet-18 whose stem is one 3x3 convolution of stride 1 without max-pool, so that 32-pixel images keep detail.

    Args:
        width: channels of the first stage (64 in He et al., CVPR 2016); features have 8 times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            out, stride = width << stage, 2 if stage else 1
            skip = (
                nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if stage else None
            )
            blocks += [BasicBlock(channels, out, stride, skip), BasicBlock(out, out)]
            channels = out
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, 3, s, s) => (B, 8 * width), non-negative."""
        return self.forward_features(images).mean(dim=(2, 3))

    def forward_features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, s, s) => the map before pooling, (B, 8 * width, s / 8, s / 8)."""
        found: Tensor = self.blocks(self.stem(images))
        return found


class SimCLR(Objective):
    """NT-Xent between two views of each image; the negatives are the other images of all ranks.

    Args:
        config: temperature and augmentation.
        size: s, the side of the views.
    """

    def __init__(self, config: BackboneConfig, size: int) -> None:
        super().__init__()
        self.network = ResNet18(config.width)
        self.head = SimCLRProjectionHead(8 * config.width, 8 * config.width, 128)
        self.criterion = NTXentLoss(config.temperature, gather_distributed=True)
        self.augmentation, self.size = config.augmentation, size

    def draw(self, batch_size: int, generator: torch.Generator) -> list[View]:
        """The two views of a step."""
        return [draw_view(batch_size, self.augmentation, generator) for _ in range(2)]

    def forward(self, images: Tensor, views: list[View]) -> Tensor:
        """float32 (B, 3, s, s) in [0, 1] => loss."""
        # Both views pass together, so that they share their batch-norm statistics.
        inputs = torch.cat([apply_view(images, view, self.size) for view in views]).mul_(2).sub_(1)
        first, second = self.head(self.network(inputs.contiguous(memory_format=torch.channels_last))).float().chunk(2)
        loss: Tensor = self.criterion(first, second)
        return loss
