"""The whole of params.yaml. Every stage validates all of it, so a wrong value stops the first stage that runs.

This module only checks; each stage's results depend on its own section and dials alone.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from selfguide.backbone.config import BackboneConfig
from selfguide.boxes.config import BoxesConfig
from selfguide.checkpoint.config import CheckpointConfig
from selfguide.clusters.config import ClustersConfig
from selfguide.core.config import StrictModel, parse, read_yaml
from selfguide.core.errors import UserError
from selfguide.denoiser.config import DenoiserConfig
from selfguide.features.config import FeaturesConfig
from selfguide.images.config import ImagesConfig
from selfguide.metrics.config import MetricsConfig
from selfguide.reference.config import ReferenceConfig
from selfguide.samples.conditions import as_boxes
from selfguide.samples.config import SamplesConfig


class Params(StrictModel):
    """params.yaml: the dials, then one section per stage."""

    guidance: Literal["none", "ground_truth_label", "self_labeled", "self_boxed", "ground_truth_boxed"]
    """What guides the denoiser."""
    k: Annotated[int, Field(ge=1, le=10_000)]
    """Number of k-means clusters."""
    w: float
    """Guidance strength: 0 = unconditional, 1 = conditional, above 1 = guided."""
    corruption: Annotated[float, Field(ge=0, le=1)]
    """Share of the images whose ids and boxes are permuted."""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Seed of everything random."""
    images: ImagesConfig
    backbone: BackboneConfig
    features: FeaturesConfig
    clusters: ClustersConfig
    boxes: BoxesConfig
    denoiser: DenoiserConfig
    checkpoint: CheckpointConfig
    samples: SamplesConfig
    reference: ReferenceConfig
    metrics: MetricsConfig


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate the whole configuration.

    Raises:
        UserError: names every wrong key.
    """
    params = parse(Params, read_yaml(path), str(path))
    if params.samples.num_steps > params.denoiser.num_timesteps:
        raise _too_many(path, "samples", params.samples.num_steps, params.denoiser.num_timesteps)
    if params.checkpoint.num_steps > params.denoiser.num_timesteps:
        raise _too_many(path, "checkpoint", params.checkpoint.num_steps, params.denoiser.num_timesteps)
    params.metrics.check_num_samples(params.samples.num_images, f"{path}: samples.num_images")
    if params.checkpoint.choice == "best":
        params.metrics.check_num_samples(params.checkpoint.num_images, f"{path}: checkpoint.num_images")
    _check_weak_model(params, path)
    _check_boxes(params, path)
    return params


def _too_many(path: str | Path, section: str, steps: int, most: int) -> UserError:
    return UserError(f"{path}: {section}.num_steps: {steps} is more than denoiser.num_timesteps = {most}")


def _check_boxes(params: Params, path: str | Path) -> None:
    if params.samples.boxes is None:
        return
    if not params.guidance.endswith("_boxed"):
        raise UserError(f"{path}: samples.boxes: guidance {params.guidance} has no boxes; set samples.boxes to null")
    try:
        as_boxes(params.samples.boxes, params.images.size)
    except UserError as error:
        raise UserError(f"{path}: samples.{error}") from None


def _check_weak_model(params: Params, path: str | Path) -> None:
    weak, every = params.checkpoint.weak_model, params.denoiser.snapshot_every_steps
    if params.samples.guiding == "weak_model" and weak is None:
        raise UserError(f"{path}: samples.guiding: weak_model needs checkpoint.weak_model, found null")
    if isinstance(weak, int) and (every is None or weak % every or weak >= params.denoiser.max_steps):
        raise UserError(
            f"{path}: checkpoint.weak_model: step {weak} has no snapshot; expected a multiple of"
            f" denoiser.snapshot_every_steps = {'null' if every is None else every} below denoiser.max_steps ="
            f" {params.denoiser.max_steps}"
        )
