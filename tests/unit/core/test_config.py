from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfguide.core.config import read_yaml
from selfguide.core.errors import UserError
from selfguide.params import load_params
from tests.conftest import ROOT

SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]

#: (text in params.yaml, what it becomes, words of the error)
WRONG = [
    ("guidance: self_labeled", "guidance: self_labelled", ["guidance", "unknown value", "did you mean 'self_labeled'"]),
    ("k: {k}", 'k: "20"', ["k: should be a valid integer", '"20"']),
    ("k: {k}", "k: 0", ["k: should be greater than or equal to 1"]),
    ("k: {k}", "k: 2.5", ["k: should be a valid integer", "2.5"]),
    ("k: {k}", "k: yes", ["k: should be a valid integer"]),
    ("k: {k}", "kk: 3", ["kk: unknown key; did you mean 'k'", "k: missing"]),
    ("w: {w}", "w: strong", ["w: should be a valid number"]),
    ("w: {w}", "w: .nan", ["w: should be a finite number"]),
    ("corruption: {corruption}", "corruption: 1.5", ["corruption: should be less than or equal to 1", "1.5"]),
    ("seed: {seed}", "seed: -1", ["seed: should be greater than or equal to 0"]),
    (
        "  source: scenes",
        "  source: scene",
        ["images.source", "unknown value", "did you mean 'scenes'", "image_folder"],
    ),
    ("  size: {size}", "  size: 32px", ["images.size: should be a valid integer"]),
    ("  prediction: v", "  prediction: x0", ["denoiser.prediction", "valid: eps, v"]),
    ("  schedule: cosine", "  schedule: cosinus", ["denoiser.schedule", "did you mean 'cosine'"]),
    ("  max_steps:", "  max_step:", ["denoiser.max_step: unknown key; did you mean 'max_steps'", "max_steps: missing"]),
    ("  horizontal_flip: false", "  horizontal_flip: 0", ["denoiser.horizontal_flip: should be a valid boolean"]),
    (
        "  channel_multipliers:\n  - 1",
        "  channel_multipliers:\n  - 0",
        ["denoiser.channel_multipliers[0]", "greater than"],
    ),
    ("  num_heads: {num_heads}", "  num_heads: 7", ["denoiser.num_heads: 7 does not divide"]),
    ("  ema_decay:", "  ema_decay: 1.0 #", ["denoiser.ema_decay: should be less than 1"]),
    ("  sampler: ddim", "  sampler: dimm", ["samples.sampler", "did you mean 'ddim'"]),
    ("  nearest_k: 3", "  nearest_k: 1000", ["samples.num_images: expected at least 1001 images", "nearest_k 1000"]),
    ("  num_nearest:", "  num_nearest: 3", ["metrics: num_nearest 3 is too few for nearest_k 3"]),
    ("  choice: last", "  choice: lats", ["checkpoint.choice", "did you mean 'last'"]),
    ("reference:", "reference: 3\nold:", ["reference"]),
    ("seed: {seed}", "seed: 0\nseed: 1", ["the key 'seed' appears twice"]),
]


def _values(text: str) -> dict[str, str]:
    params = load_params(ROOT / "params.yaml")
    return {
        "k": str(params.k), "w": str(params.w), "corruption": str(params.corruption), "seed": str(params.seed),
        "size": str(params.images.size), "num_heads": str(params.denoiser.num_heads),
    }  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_every_shipped_file_parses(path: Path):
    assert load_params(path).k >= 1


@pytest.mark.parametrize(("old", "new", "words"), WRONG, ids=[new.strip() for _, new, _ in WRONG])
def test_a_wrong_value_names_its_key(tmp_path, old, new, words):
    text = (ROOT / "params.yaml").read_text()
    old = old.format(**_values(text))
    assert f"\n{old}" in text, "the shipped file has no such line"
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(f"\n{old}", f"\n{new}", 1))
    with pytest.raises(UserError) as error:
        load_params(path)
    for word in [str(path), *words]:
        assert word in str(error.value), str(error.value)


def test_all_wrong_values_are_named_at_once(tmp_path):
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    path.write_text(text.replace("\nguidance: ", "\nguidance: x").replace("  sampler: ", "  sampler: x"))
    with pytest.raises(UserError, match=r"(?s)guidance.*\n.*samples\.sampler"):
        load_params(path)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_as_dvc_writes_them(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text(f"a: {value!r}\n")
    found = read_yaml(path)["a"]
    assert isinstance(found, float | int)
    assert float(found) == value


SCALARS = {"010": 10, "no": "no", "on": "on", "~": None, "true": True, "1e-05": 1e-05, ".5": 0.5, "-3": -3,
           "2026-01-01": "2026-01-01"}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars_are_yaml_1_2(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(f"a: {text}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": value}


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not valid YAML"), ("- 1", "expected a mapping"),
                                               ("", "expected a mapping")])  # fmt: skip
def test_unreadable_files_say_where(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="no such file"):
        read_yaml(tmp_path / "b.yaml")
