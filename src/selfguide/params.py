"""The whole of params.yaml. Every stage validates all of it, so a wrong value stops the first stage that runs.

This module only checks; each stage's results depend on its own section and dials alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from selfguide.annotations.registry import KINDS
from selfguide.backbone.config import PATCH_SIZES, BackboneConfig
from selfguide.boxes.config import KEYLESS, BoxesConfig
from selfguide.checkpoint.config import CheckpointConfig
from selfguide.clusters.config import ClustersConfig
from selfguide.core.config import Guidance, StrictModel, nearest, one_of, parse, read_yaml
from selfguide.core.errors import UserError, shown
from selfguide.core.project import located
from selfguide.core.settings import with_settings
from selfguide.denoiser.config import DenoiserConfig
from selfguide.features.config import FeaturesConfig
from selfguide.images.config import NUM_CLASSES, WITH_TRUTH, ImagesConfig
from selfguide.masks.config import MasksConfig
from selfguide.metrics.config import MetricsConfig
from selfguide.metrics.keys import criteria
from selfguide.patches.config import PatchesConfig
from selfguide.reference.config import ReferenceConfig
from selfguide.samples.config import SamplesConfig
from selfguide.signal.where import WHERE


class Params(StrictModel):
    """params.yaml: the dials, then one section per stage."""

    guidance: Annotated[str, one_of(KINDS)]
    """What guides the denoiser."""
    k: Annotated[int, Field(ge=1, le=10_000)]
    """Number of k-means clusters."""
    w: Guidance
    """Guidance strength: 0 = unconditional, 1 = conditional, above 1 = guided."""
    corruption: Annotated[float, Field(ge=0, le=1)]
    """Share of the images whose ids and places are permuted."""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Seed of everything random."""
    images: ImagesConfig
    backbone: BackboneConfig
    features: FeaturesConfig
    clusters: ClustersConfig
    boxes: BoxesConfig
    patches: PatchesConfig
    masks: MasksConfig
    denoiser: DenoiserConfig
    checkpoint: CheckpointConfig
    samples: SamplesConfig
    reference: ReferenceConfig
    metrics: MetricsConfig


def load_params(path: str | Path = "params.yaml", settings: Sequence[str] = ()) -> Params:
    """Read and validate the whole configuration.

    Args:
        path: of the file.
        settings: KEY=VALUE each, in the place of the file's: see `selfguide.core.settings`.

    Raises:
        UserError: names every wrong key.
    """
    where = " ".join([f"{path} with --set" if settings else str(path), *settings])
    params = parse(Params, with_settings(read_yaml(path), settings), where)
    found = [f"{where}: {fault}" for check in CHECKS for fault in check(params)]
    if found:
        raise UserError("\n".join(found))
    return params


# What sections say about one another. Each check yields a sentence for each fault, which begins with the key. Only what
# the run will use is looked at: a backbone, say, that no guidance asks for may be anything.


def _guidance_and_images(params: Params) -> Iterator[str]:
    source, guidance = params.images.source, params.guidance
    asked = KINDS[guidance]
    if not asked.truth:
        return
    instead = next(name for name, kind in KINDS.items() if kind.is_self_guided and kind.where == asked.where)
    for truth in asked.truth:
        having = WITH_TRUTH.get(truth, (source,))
        if source not in having:
            yield (
                f"guidance: {guidance} needs {truth}, which images.source {source} never has; use one of"
                f" {', '.join(having)}, or guidance: {instead}"
            )
        elif truth == "masks" and source == "voc" and params.images.masks is None:
            yield (
                f"guidance: {guidance} needs masks, and images.masks is null; name their folder, e.g."
                f" SegmentationClass, or use guidance: {instead}"
            )
        elif source == "arrays" and str(params.images.path).lower().endswith(".npy"):
            yield (
                f"guidance: {guidance} needs {truth}, which a .npy (images.path) does not hold; use a .npz with images"
                f" and {truth}, or guidance: {instead}"
            )


def _k_and_images(params: Params) -> Iterator[str]:
    num = params.images.num_rows
    if _has_clusters(params) and num is not None and params.k > num:
        yield f"k: expected at most {num}, the training images (images.num_train x images.num_views), found {params.k}"


def _picture_and_images(params: Params) -> Iterator[str]:
    rows, columns = min(params.k, params.clusters.picture_rows), params.clusters.picture_columns
    pixels = rows * columns * max(params.images.size, 64) ** 2
    if _has_clusters(params) and pixels > 1_000_000_000:
        yield (
            f"clusters.picture_rows: {rows} rows of {columns} images are a picture of {pixels} pixels; expected at most"
            " 1000000000; lower picture_rows or picture_columns"
        )


def _backbone_and_images(params: Params) -> Iterator[str]:
    backbone, patch = params.backbone, params.backbone.patch_size
    key, side = "backbone.input_size", backbone.input_size
    if side is None and backbone.variant == "dino_vit":  # a published network has a size of its own
        key, side = "images.size", params.images.size
    if _is_self_guided(params) and patch is not None and side is not None and side % patch:
        remedy = " or backbone.dino.patch_size" if backbone.variant == "dino_vit" else ""
        yield f"{key}: {side} is not a multiple of {patch}, the patches of {backbone.variant}; change it{remedy}"


def _boxes_and_backbone(params: Params) -> Iterator[str]:
    method, variant = params.boxes.method, params.backbone.variant
    if "boxes" in KINDS[params.guidance].inputs and method not in KEYLESS and params.backbone.patch_size is None:
        valid = ["dino_vit", *PATCH_SIZES]
        yield (
            f"backbone.variant: boxes.method {method} needs a vision transformer, found {variant}; use one of"
            f" {', '.join(valid)}"
        )


def _patches_and_backbone(params: Params) -> Iterator[str]:
    kind, variant, patch = params.patches.kind, params.backbone.variant, params.backbone.patch_size
    if "masks" not in KINDS[params.guidance].inputs or (kind == "map") == (patch is None):
        return
    fitting = "map" if patch is None else "tokens or keys"
    yield f"patches.kind: {variant} has no {kind}; set it to {fitting}, or change backbone.variant"


def _denoiser_and_images(params: Params) -> Iterator[str]:
    yield from params.denoiser.network.faults(params.images.size)


def _steps_and_denoiser(params: Params) -> Iterator[str]:
    most = params.denoiser.num_timesteps
    for section, steps in (("samples", params.samples.num_steps), ("checkpoint", params.checkpoint.num_steps)):
        if steps > most:
            yield f"{section}.num_steps: {steps} is more than denoiser.num_timesteps = {most}"


def _checkpoint_and_denoiser(params: Params) -> Iterator[str]:
    every, last = params.denoiser.snapshot_every_steps, params.denoiser.max_steps
    weak = params.checkpoint.weak_model
    if params.samples.guiding == "weak_model" and weak is None:
        yield "samples.guiding: weak_model needs checkpoint.weak_model, found null"
    if isinstance(weak, int) and (every is None or weak % every or weak >= last):
        yield (
            f"checkpoint.weak_model: step {weak} has no snapshot; expected a multiple of"
            f" denoiser.snapshot_every_steps = {'null' if every is None else every} below denoiser.max_steps = {last}"
        )
        return
    first = weak if isinstance(weak, int) else 0  # candidates come after the weak model
    if params.checkpoint.choice == "best" and (every is None or first + every >= last):
        why = "is null" if every is None else f"= {every} gives no snapshot between step {first} and the last, {last}"
        yield (
            f"checkpoint.choice: best has only the last weights to choose from: denoiser.snapshot_every_steps {why};"
            " set a smaller number, or checkpoint.choice: last"
        )


def _metric_and_reference(params: Params) -> Iterator[str]:
    metric = params.checkpoint.metric
    valid = list(criteria(params.reference.networks, heldout=params.images.num_heldout > 0))
    if params.checkpoint.choice == "best" and metric not in valid:
        yield (
            f"checkpoint.metric: unknown value '{shown(metric, 100)}'; valid with reference.networks and"
            f" images.num_heldout as they are: {', '.join(valid)}{nearest(metric, valid)}"
        )


def _reference_and_images(params: Params) -> Iterator[str]:
    for key, there in (("num_train", params.images.num_rows), ("num_heldout", params.images.num_heldout)):
        asked = getattr(params.reference, key)
        if there is not None and asked is not None and asked > there:
            yield (
                f"reference.{key}: {asked} asked for, and images.{key} gives {there}; set it to null, which takes all"
                f" there are, or raise images.{key}"
            )
        elif there == 1:
            least = "0, or at least 2" if key == "num_heldout" else "at least 2"
            yield f"images.{key}: expected {least} images for the reference, found 1"


def _metrics_and_sizes(params: Params) -> Iterator[str]:
    metrics = params.metrics
    drawn = {"samples.num_images": params.samples.num_images}
    if params.checkpoint.choice == "best":
        drawn["checkpoint.num_images"] = params.checkpoint.num_images
    for key, num in drawn.items():
        try:
            metrics.check_num_samples(num, key)
        except UserError as error:
            yield str(error)
    num_real = params.reference.num_train or params.images.num_rows
    if num_real is not None and num_real <= metrics.nearest_k:
        yield (
            f"metrics.nearest_k: expected less than {num_real}, the training images of the reference, found"
            f" {metrics.nearest_k}; lower it, or take more (reference.num_train, images.num_train)"
        )


def _ids_and_guidance(params: Params) -> Iterator[str]:
    sets = [(each,) if isinstance(each, int) else each for each in params.samples.ids or ()]
    largest = max((number for each in sets for number in each), default=-1)
    num = _num_ids(params)
    if params.guidance == "none" and largest >= 0:
        yield f"samples.ids: guidance none has no ids, found {largest}; set samples.ids to null"
    elif num is not None and largest >= num:
        yield f"samples.ids: guidance {params.guidance} has ids 0 to {num - 1}, found {largest}"
    elif _has_clusters(params) and KINDS[params.guidance].where and not any(params.samples.places().values()):
        for each in [each for each in sets if len(set(each)) != 1][:1]:
            yield (
                "samples.ids: a place is drawn from the training images of the same ids, which have one each, found"
                f" {list(each[:10])}; give one id an image, or samples.{KINDS[params.guidance].where}"
            )


def _places_and_guidance(params: Params) -> Iterator[str]:
    where = KINDS[params.guidance].where
    for kind, values in params.samples.places().items():
        if values is None:
            continue
        if kind != where:
            yield f"samples.{kind}: guidance {params.guidance} has no {kind}; set samples.{kind} to null"
            continue
        if isinstance(values, str):
            if not Path(located(values)).exists():
                yield f"samples.{kind}: {values}: no such file or folder"
            continue  # read where it is used
        try:
            WHERE[kind].parse(values, params.images.size, 1)
        except UserError as error:
            yield f"samples.{error}"


def _is_self_guided(params: Params) -> bool:
    """Whether a backbone is made at all."""
    return KINDS[params.guidance].is_self_guided


def _has_clusters(params: Params) -> bool:
    """Whether k-means clusters are made."""
    return KINDS[params.guidance].has_clusters


def _num_ids(params: Params) -> int | None:
    """How many ids the guidance has, where it is known before any file is opened."""
    kind = KINDS[params.guidance]
    if "masks" in kind.inputs:
        return params.masks.segmenter.num_classes
    if kind.has_clusters:
        return params.k
    return None if kind.where == "masks" else NUM_CLASSES.get(params.images.source)


CHECKS = (
    _guidance_and_images,
    _k_and_images,
    _picture_and_images,
    _backbone_and_images,
    _boxes_and_backbone,
    _patches_and_backbone,
    _denoiser_and_images,
    _steps_and_denoiser,
    _checkpoint_and_denoiser,
    _metric_and_reference,
    _reference_and_images,
    _metrics_and_sizes,
    _ids_and_guidance,
    _places_and_guidance,
)
