"""What sections of params.yaml say about one another stops the first stage, and nothing that a run can use does."""

from typing import Any

import pytest
import yaml

from selfguide.core.config import read_yaml
from selfguide.core.errors import UserError
from selfguide.params import Params, load_params
from tests.conftest import ROOT

LABELS, BOXES = {"guidance": "ground_truth_label"}, {"guidance": "ground_truth_boxed"}
BEST = {"checkpoint.choice": "best"}
CIFAR = {"images.source": "cifar10", "images.path": "data/raw"}
DIGITS = {"images.source": "digits", "images.num_heldout": 297, "reference.num_heldout": 297}
FOLDER = {"images.source": "image_folder", "images.path": "photos", "images.num_train": None}
TWO_VIEWS = {**CIFAR, "images.crop": "random", "images.num_views": 2, "images.num_train": 100}
SELF_BOXED = {"guidance": "self_boxed", "backbone.variant": "dino_vit", "backbone.width": 64}
SELF_SEGMENTED = {"guidance": "self_segmented", "backbone.variant": "dino_vit", "backbone.width": 64}
VOC = {"images.source": "voc", "images.path": "devkit", "images.num_train": None}
NET = "denoiser.network"
WEAK = {"samples.guiding": "weak_model"}


@pytest.fixture
def load(tmp_path):
    def load(changes: dict[str, Any]) -> Params:
        """The default configuration with changes, of keys such as `images.size`."""
        values = read_yaml(ROOT / "params.yaml")
        for key, value in changes.items():
            *sections, last = key.split(".")
            section = values
            for name in sections:
                section = section[name]
            assert last in section
            section[last] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
        return load_params(tmp_path / "params.yaml")

    return load


CONTRADICTIONS = [
    # images and denoiser
    ({f"{NET}.base_channels": 16}, "denoiser.network.base_channels: 16 makes maps of 48 channels"),
    ({f"{NET}.base_channels": 9, f"{NET}.num_heads": 1}, "denoiser.network.base_channels: 9 is odd"),
    ({f"{NET}.num_heads": 64, f"{NET}.attention_resolutions": [16]}, "num_heads: 64 does not divide the 32 "),
    ({"images.size": 18}, "images.size: 18 is not a multiple of 4 = denoiser.network.patch_size x 2"),
    ({"denoiser.network.patch_size": 3}, "images.size: 16 is not a multiple of 12"),
    ({"denoiser.network.channel_multipliers": [1] * 11}, "images.size: 16 is not a multiple of 1024"),
    ({f"{NET}.attention_resolutions": [7]}, "attention_resolutions: no level has side 7; expected some of 16, 8, 4 "),
    ({"images.size": 24}, "attention_resolutions: no level has side 8; expected some of 24, 12, 6 "),
    # guidance and masks
    ({"guidance": "self_segmented"}, "patches.kind: simclr_resnet18 has no tokens; set it to map"),
    ({**SELF_SEGMENTED, "patches.kind": "map"}, "patches.kind: dino_vit has no map; set it to tokens or keys"),
    ({**SELF_SEGMENTED, "samples.ids": [11]}, "samples.ids: guidance self_segmented has ids 0 to 10, found 11"),
    ({**SELF_SEGMENTED, "samples.masks": "no_such.npy"}, "samples.masks: no_such.npy: no such file or folder"),
    ({"samples.masks": "params.yaml"}, "samples.masks: guidance self_labeled has no masks"),
    ({**FOLDER, "guidance": "ground_truth_segmented"}, "guidance: ground_truth_segmented needs masks, which"),
    ({**VOC, "guidance": "ground_truth_segmented"}, "needs masks, and images.masks is null"),
    # images and k
    ({"k": 5001}, "k: expected at most 5000, the training images .*, found 5001"),
    ({**TWO_VIEWS, "k": 201}, "k: expected at most 200, "),
    ({**DIGITS, "images.num_train": None, "k": 1501}, "k: expected at most 1500, "),
    # images alone
    ({**DIGITS, "images.num_train": 1501}, "num_train: digits has 1797 images, found 1501 beside num_heldout 297"),
    ({**DIGITS, "images.num_train": None, "images.num_heldout": 1797}, "num_train: digits has 1797 images, found null"),
    ({**CIFAR, "images.num_train": 50_001}, "images: num_train: cifar10 has 50000 images, found 50001"),
    ({**CIFAR, "images.num_heldout": 10_001}, "images: num_heldout: cifar10 has 10000 images to hold out, found 10001"),
    # images and guidance
    ({**BOXES, **CIFAR}, "guidance: ground_truth_boxed needs boxes, which images.source cifar10 never has"),
    ({**BOXES, **FOLDER}, "guidance: ground_truth_boxed needs boxes, which images.source image_folder never has"),
    ({**LABELS, "images.source": "arrays", "images.path": "x.npy"}, r"guidance: .* labels, which a \.npy .*\.npz"),
    # backbone
    ({**SELF_BOXED, "backbone.input_size": 30}, "backbone.input_size: 30 is not a multiple of 4, .* of dino_vit"),
    ({"backbone.variant": "dino_vit", "backbone.dino.patch_size": 16, "images.size": 24}, "size: 24 is not .* of 16"),
    ({"backbone.variant": "msn_vitb16", "backbone.input_size": 100}, "backbone.input_size: 100 is .* of 16"),
    ({"guidance": "self_boxed"}, "backbone.variant: boxes.method lost needs .*, found simclr_resnet18; .*dino_vit"),
    # clusters
    (
        {"k": 1000, "clusters.picture_rows": 1000, "clusters.picture_columns": 100, "images.size": 256},
        "clusters.picture_rows: 1000 rows of 100 images are a picture of 6553600000 pixels",
    ),
    # steps and snapshots
    ({"samples.num_steps": 1001}, "samples.num_steps: 1001 is more than denoiser.num_timesteps = 1000"),
    ({"checkpoint.num_steps": 1001}, "checkpoint.num_steps: 1001 is more than"),
    ({**BEST, "denoiser.snapshot_every_steps": None}, "checkpoint.choice: best has only the last weights .* is null"),
    ({**BEST, "denoiser.snapshot_every_steps": 1400}, "checkpoint.choice: best has only .* step 0 and the last, 1400"),
    ({**BEST, "checkpoint.weak_model": 1050}, "checkpoint.choice: best has only .* step 1050 and the last, 1400"),
    ({"checkpoint.weak_model": 351}, "checkpoint.weak_model: step 351 has no snapshot"),
    (WEAK, "samples.guiding: weak_model needs checkpoint.weak_model, found null"),
    # metric
    ({**BEST, "checkpoint.metric": "fid"}, "checkpoint.metric: unknown value 'fid'; valid .*: fd_efficientnet_lite0, "),
    ({**BEST, "checkpoint.metric": "precision_efficient"}, "did you mean 'precision_efficientnet_lite0'"),
    ({**BEST, "checkpoint.metric": "copied_efficientnet_lite0"}, "checkpoint.metric: unknown value"),
    ({**BEST, "checkpoint.metric": "is_efficientnet_lite0_sd"}, "checkpoint.metric: unknown value"),
    ({**BEST, "checkpoint.metric": "x" * 10_000}, r"metric: unknown value 'x{100}\.\.\. \(10000 characters\)'; "),
    (
        {**BEST, "checkpoint.metric": "fd_efficientnet_lite0_heldout", "images.num_heldout": 0,
         "reference.num_heldout": None},
        "checkpoint.metric: unknown value .* did you mean 'fd_efficientnet_lite0'",
    ),
    (
        {**BEST, "checkpoint.metric": "is_backbone", "reference.networks": ["backbone"], "reference.backbone": "x"},
        "checkpoint.metric: unknown value 'is_backbone'",
    ),
    # reference and metrics
    ({"reference.num_train": 5001}, "reference.num_train: 5001 asked for, .* gives 5000; set it to null"),
    ({"images.num_heldout": 0}, "reference.num_heldout: 1000 asked for, .* gives 0; set it to null"),
    ({"images.num_heldout": 1, "reference.num_heldout": None}, "images.num_heldout: expected 0, or at least 2 images"),
    ({"images.num_train": 1, "k": 1}, "images.num_train: expected at least 2 images for the reference, found 1"),
    ({"reference.num_train": 3}, "metrics.nearest_k: expected less than 3, .* found 3"),
    ({"samples.num_images": 9}, "samples.num_images: expected at least 10 images .* metrics.splits 10"),
    ({**BEST, "checkpoint.num_images": 9}, "checkpoint.num_images: expected at least 10 images"),
    # samples
    ({"samples.ids": [19, 20]}, "samples.ids: guidance self_labeled has ids 0 to 19, found 20"),
    ({"samples.ids": [[3, 25], []]}, "samples.ids: guidance self_labeled has ids 0 to 19, found 25"),
    ({**LABELS, "samples.ids": [10]}, "samples.ids: guidance ground_truth_label has ids 0 to 9, found 10"),
    ({"guidance": "none", "samples.ids": [0]}, "samples.ids: guidance none has no ids, found 0; set .* to null"),
    ({**SELF_BOXED, "samples.ids": [[1, 2]]}, r"samples.ids: a place is drawn .* found \[1, 2\]; .* or samples.boxes"),
    ({**SELF_BOXED, "samples.ids": [[]]}, r"samples.ids: a place is drawn .* found \[\]"),
    ({"samples.boxes": [[0, 0, 4, 4]]}, "samples.boxes: guidance self_labeled has no boxes"),
    ({**SELF_BOXED, "samples.boxes": [[0, 0, 2**63, 4]]}, r"samples.boxes: box 0 is \[0, 0, 9223372036854775808, 4\]"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), CONTRADICTIONS, ids=[str(c)[:90] for c, _ in CONTRADICTIONS])
def test_a_contradiction_names_the_key_and_what_it_goes_against(load, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as error:
        load(changes)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{tmp_path}/params.yaml: ") and len(line) < 1000 for line in lines)


#: What a run does not use may be anything, and the largest value that fits does fit.
FINE = [
    {"k": 5000},
    {**LABELS, "k": 9999},
    {**FOLDER, "k": 9999},
    {**TWO_VIEWS, "k": 200},
    {**DIGITS, "images.num_train": None, "k": 1500},
    {**CIFAR, "images.num_train": 50_000, "images.num_heldout": 10_000},
    {**LABELS, "images.source": "arrays", "images.path": "x.npz"},
    {**LABELS, **FOLDER, "samples.ids": [12_345]},
    {"samples.ids": [0, [1, 19], []]},
    {"guidance": "none", "samples.ids": [[]]},
    {**SELF_BOXED, "samples.ids": [[1, 2]], "samples.boxes": [[0, 0, 4, 4]]},
    {**SELF_BOXED, "backbone.variant": "simclr_resnet18", "boxes.method": "center"},
    {**LABELS, "backbone.variant": "msn_vitb16", "backbone.input_size": 100},
    {"backbone.variant": "efficientnet_lite0", "backbone.input_size": 100},
    {"denoiser.network.attention_resolutions": []},
    {"denoiser.network.attention_resolutions": [4, 16, 8]},
    {"denoiser.network.base_channels": 2, "denoiser.network.num_heads": 2},
    {"images.size": 1024, "denoiser.network.patch_size": 4, "denoiser.network.attention_resolutions": [64]},
    {"checkpoint.metric": "nonsense"},
    {**BEST, "denoiser.snapshot_every_steps": 1399},
    {**BEST, "checkpoint.weak_model": 700},
    {**BEST, "checkpoint.weak_model": "models/other"},
    {**BEST, "checkpoint.metric": "precision_efficientnet_lite0"},
    {**BEST, "checkpoint.metric": "fid_heldout", "reference.networks": ["inception"]},
    {"checkpoint.num_images": 1},
    {"images.num_heldout": 0, "reference.num_heldout": None},
    {"reference.num_train": 4},
    {"reference.num_train": 5000, "reference.num_heldout": 1000},
]


@pytest.mark.parametrize("changes", FINE, ids=str)
def test_what_a_run_can_use_is_fine(load, changes):
    params = load(changes)
    assert not list(params.denoiser.network.faults(params.images.size))


def test_all_contradictions_are_told_at_once(load):
    with pytest.raises(UserError) as error:
        load({"k": 6000, "denoiser.network.base_channels": 16, "samples.num_steps": 2000, "samples.ids": [6000]})
    told = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert told == ["k", "denoiser.network.base_channels", "samples.num_steps", "samples.ids"]
