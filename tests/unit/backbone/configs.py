"""A small backbone section for tests."""

from typing import Any

from selfguide.backbone.config import AugmentationConfig, BackboneConfig, DinoConfig

AUGMENTATION: dict[str, Any] = {
    "crop_scale": 0.3, "flip": 0.5, "color_jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
    "hue": 0.1, "grayscale": 0.2, "blur": 0.5,
}  # fmt: skip
DINO: dict[str, Any] = {
    "patch_size": 4, "depth": 2, "num_heads": 2, "num_prototypes": 16, "teacher_temperature": 0.04,
    "teacher_momentum": 0.9, "num_local_crops": 2, "local_crop_scale": 0.4,
}  # fmt: skip


def augmentation(**changed: Any) -> AugmentationConfig:
    return AugmentationConfig(**{**AUGMENTATION, **changed})


def backbone_config(**changed: Any) -> BackboneConfig:
    section: dict[str, Any] = {
        "variant": "simclr_resnet18", "checkpoint": None, "input_size": None, "width": 8, "epochs": 2,
        "batch_size": 16, "learning_rate": 1e-3, "warmup": 0.1, "weight_decay": 1e-4, "temperature": 0.2,
        "precision": "32-true", "augmentation": augmentation(), "dino": DinoConfig(**DINO),
    }  # fmt: skip
    return BackboneConfig(**{**section, **changed})
