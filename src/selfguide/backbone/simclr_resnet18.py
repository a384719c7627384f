"""Variant `simclr_resnet18`: ResNet-18 with a small-image stem, trained here with SimCLR (Chen et al., ICML 2020)."""

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from selfguide.backbone.augment import apply_view, draw_view
from selfguide.backbone.config import BackboneConfig


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
            skip = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if stage else None
            blocks += [BasicBlock(channels, out, stride, skip), BasicBlock(out, out)]
            channels = out
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """float32 (B, 3, s, s) => (B, 8 * width), non-negative."""
        pooled: Tensor = self.blocks(self.stem(images)).mean(dim=(2, 3))
        return pooled


class SimCLR(nn.Module):
    """NT-Xent between two views of each image.

    Args:
        network: what is trained, (B, 3, s, s) => (B, D).
        width: D.
        size: s.
        config: temperature and augmentation.
    """

    def __init__(self, network: nn.Module, width: int, size: int, config: BackboneConfig, num_steps: int) -> None:
        super().__init__()
        self.network = network
        self.head = SimCLRProjectionHead(width, width, 128)
        self.criterion = NTXentLoss(config.temperature, gather_distributed=True)
        self.size, self.augmentation = size, config.augmentation
