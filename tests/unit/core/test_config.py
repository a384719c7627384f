import os
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from selfguide.core.config import FilePath, StrictModel, parse, read_yaml
from selfguide.core.errors import UserError
from selfguide.params import load_params
from tests.conftest import ROOT

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
        "    channel_multipliers:\n    - 1",
        "    channel_multipliers:\n    - 0",
        ["denoiser.network.channel_multipliers[0]", "greater than"],
    ),
    ("    num_heads: {num_heads}", "    num_heads: 7", ["denoiser.network.num_heads: 7 does not divide"]),
    ("  ema_decay:", "  ema_decay: 1.0 #", ["denoiser.ema_decay: should be less than 1"]),
    ("  sampler: ddim", "  sampler: dimm", ["samples.sampler", "did you mean 'ddim'"]),
    ("  nearest_k: 3", "  nearest_k: 1000", ["samples.num_images: expected at least 1001 images", "nearest_k 1000"]),
    ("  num_nearest:", "  num_nearest: 3", ["metrics: num_nearest 3 is too few for nearest_k 3"]),
    ("  choice: last", "  choice: lats", ["checkpoint.choice", "did you mean 'last'"]),
    ("reference:", "reference: 3\nold:", ["reference"]),
    # What no run could use is told with the largest value, and not by memory that is not there.
    ("  num_train: {num_train}", "  num_train: 1000000000000", ["images.num_train: ", "equal to 1000000000, found"]),
    ("  max_steps:", "  max_steps: 10000000000000000000 #", ["denoiser.max_steps: ", "equal to 1000000000, found"]),
    (
        "    num_blocks: ",
        "    num_blocks: 100000 #",
        ["denoiser.network.num_blocks: ", "less than or equal to 64, found 100000"],
    ),
    ("    base_channels: ", "    base_channels: 1000000000 #", ["denoiser.network.base_channels: ", "equal to 1024"]),
    (
        "    channel_multipliers:\n    - 1",
        "    channel_multipliers:\n    - 1000000000",
        ["multipliers[0]: ", "equal to 64"],
    ),
    ("  num_timesteps: ", "  num_timesteps: 1000000000000 #", ["denoiser.num_timesteps: ", "equal to 100000"]),
    ("  num_seeds: ", "  num_seeds: 1000000000000 #", ["samples.num_seeds: ", "equal to 1000"]),
    ("  batch_size: 100 ", "  batch_size: 1000000000000000 #", ["samples.batch_size: expected auto or 1 to 1000000"]),
    ("  learning_rate: 2e-3", "  learning_rate: 1e300", ["denoiser.learning_rate: ", "equal to 10, found 1e+300"]),
    ("w: {w}", "w: 1e39", ["w: should be less than or equal to 1000000, found 1e+39"]),
    ("w: {w}", "w: " + "9" * 400, ["w: should be a finite number"]),
    ("  min_snr_gamma:", "  min_snr_gamma: 1e300", ["denoiser.min_snr_gamma: ", "equal to 1000000"]),
    ("  ids:", "  ids: [4294967296]", ["samples.ids[0]: should be less than 2147483648, found 4294967296"]),
    ("  weak_model:", "  weak_model: 10000000000000000000", ["checkpoint.weak_model: ", "equal to 1000000000"]),
    ("  path:", '  path: "a\\0b"', ["images.path: a path has no NUL character"]),
    ("seed: {seed}", "seed: 0\nseed: 1", ["the key 'seed' appears twice"]),
]


def _values(text: str) -> dict[str, str]:
    params = load_params(ROOT / "params.yaml")
    return {
        "k": str(params.k), "w": str(params.w), "corruption": str(params.corruption), "seed": str(params.seed),
        "size": str(params.images.size), "num_heads": str(params.denoiser.network.num_heads),
        "num_train": str(params.images.num_train),
    }  # fmt: skip


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
                                               ("", "expected a mapping of keys to values, found nothing"),
                                               ("a: 1\na: 2", "a.yaml: line 2: the key 'a'"),
                                               ("#" * 1_000_001, "at most 1000000 bytes")])  # fmt: skip
def test_unreadable_files_say_where(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="no such file"):
        read_yaml(tmp_path / "b.yaml")


def test_what_is_no_text_file_says_so(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1", encoding="utf-16")
    with pytest.raises(UserError, match="expected text in UTF-8, found invalid start byte at byte 0"):
        read_yaml(tmp_path / "a.yaml")
    os.mkfifo(tmp_path / "pipe")  # which would wait for a writer
    for path, found in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe or device")):
        with pytest.raises(UserError, match=f"{path}: expected a file, found {found}"):
            read_yaml(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_yaml(tmp_path / ("x" * 5000))


class Example(StrictModel):
    number_or_path: Annotated[int, Field(le=9)] | FilePath | None
    sets: Annotated[tuple[int | tuple[int, ...], ...], Field(min_length=1)]


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        # Branches of a union that want another type have nothing to say beside the one that has the type,
        ({"number_or_path": 10, "sets": [1]}, ["number_or_path: should be less than or equal to 9, found 10"]),
        ({"number_or_path": "", "sets": [1]}, ['number_or_path: should have at least 1 character, found ""']),
        # and are one line where no branch has the type;
        (
            {"number_or_path": 1.5, "sets": [1]},
            ["number_or_path: should be a valid integer, or should be a valid string, found 1.5"],
        ),
        # nor has a list of which an item is wrong.
        ({"number_or_path": 1, "sets": [1, [2, "x"]]}, ['sets[1][1]: should be a valid integer, found "x"']),
        ({"number_or_path": 1, "sets": []}, ["sets: should have at least 1 item, not 0, found []"]),
        ({"number_or_path": 1, "sets": [1], "a\nb": 1}, [r"a\nb: unknown key"]),
    ],
)
def test_a_problem_is_one_line_at_the_key_where_it_lies(values, lines):
    with pytest.raises(UserError) as error:
        parse(Example, values, "here")
    assert str(error.value).split("\n") == [f"here: {line}" for line in lines]


@pytest.mark.parametrize(
    "values",
    [{"sets": ["x"] * 1000}, {"number_or_path": "x" * 10_000}, {"x" * 10_000: 1}, {"number_or_path": ["x" * 10_000]}],
)
def test_a_message_is_no_longer_than_can_be_read(values):
    with pytest.raises(UserError) as error:
        parse(Example, {"number_or_path": 1, "sets": [1]} | values, "here")
    assert len(str(error.value)) < 6000


def test_values_that_hold_themselves_are_an_error():
    values = {"number_or_path": 1, "sets": []}
    values["sets"].append(values["sets"])
    with pytest.raises(UserError, match="here: "):
        parse(Example, values, "here")
