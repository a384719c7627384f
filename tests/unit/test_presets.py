"""Presets hold what differs, and become whole files that everything else can read."""

import sys
from pathlib import Path

import pytest

from selfguide import presets as module
from selfguide.core.config import read_yaml
from selfguide.core.errors import UserError
from selfguide.core.settings import merged
from selfguide.params import load_params
from selfguide.presets import DEFAULT, Presets, choose
from tests.conftest import PRESETS, ROOT

OTHERS = [name for name in PRESETS.names if name != DEFAULT]


def test_the_default_is_the_committed_configuration():
    assert (ROOT / "presets/default.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize("name", PRESETS.names)
def test_every_preset_is_a_whole_configuration_as_it_is_written(tmp_path, name):
    path = tmp_path / "params.yaml"
    path.write_text(PRESETS.text(name))
    assert read_yaml(path) == PRESETS.values(name)
    assert load_params(path).k >= 1
    own, default = (ROOT / f"presets/{each}.yaml" for each in (name, DEFAULT))
    assert path.read_text().splitlines()[0] == own.read_text().splitlines()[0]
    kept = default.read_text().splitlines()
    assert sum(line in kept for line in path.read_text().splitlines()) > len(kept) / 2, "layout and comments stay"


def _same_keys(own: dict, default: dict, where: str = "") -> list[str]:
    """What a preset repeats of the default, or has beside it."""
    found = []
    for key, value in own.items():
        if key not in default or value == default[key]:
            found.append(f"{where}{key}")
        elif isinstance(value, dict):
            found += _same_keys(value, default[key], f"{where}{key}.")
    return found


@pytest.mark.parametrize("name", OTHERS)
def test_a_preset_holds_nothing_but_what_differs(name):
    assert _same_keys(read_yaml(ROOT / f"presets/{name}.yaml"), PRESETS.values(DEFAULT)) == []


def test_merging_goes_into_mappings_and_replaces_the_rest():
    values = {"a": {"b": 1, "c": [1, 2]}, "d": 3, "e": {"f": 1}, "g": None}
    changes = {"a": {"c": [5]}, "d": {"x": 1}, "e": None, "g": {"h": 1}}
    assert merged(values, changes) == {"a": {"b": 1, "c": [5]}, "d": {"x": 1}, "e": None, "g": {"h": 1}}
    assert values["a"] == {"b": 1, "c": [1, 2]}, "nothing is changed in place"


def test_what_was_there_is_named_or_kept(tmp_path):
    path = tmp_path / "params.yaml"
    assert choose("tiny", PRESETS, path) == f"{path}: preset tiny"
    assert choose("digits", PRESETS, path) == f"{path}: preset digits, in the place of preset tiny"
    for number in ("", 1):
        edited = PRESETS.text("digits").replace("k: 20", f"k: 2{number}")
        path.write_text(edited)
        kept = tmp_path / f"params.yaml.before{number}"
        assert choose("default", PRESETS, path).endswith(f"is kept as {kept}")
        assert kept.read_text() == edited
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scenes_boxes", "did you mean 'scenes_boxed'"),
        ("", "tiny, "),
        ("../params", "cifar100_cpu"),
        ("x.yaml", ""),
    ],
)
def test_an_unknown_name_lists_the_valid_ones_and_replaces_nothing(tmp_path, name, message):
    (tmp_path / "params.yaml").write_text("mine")
    with pytest.raises(UserError, match=f"preset: unknown .*; valid: .*{message}"):
        choose(name, PRESETS, tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == "mine"


def test_another_folder_is_not_the_project(tmp_path):
    with pytest.raises(UserError, match=r"presets/default\.yaml is missing: run from the project's root"):
        choose("tiny", Presets(tmp_path / "presets"), tmp_path / "params.yaml")


def test_the_command(scratch_root, monkeypatch, capsys):
    monkeypatch.setattr(module, "Presets", lambda: Presets(ROOT / "presets"))
    monkeypatch.setattr(sys, "argv", ["presets", "tiny"])
    module.main()
    assert capsys.readouterr().out == "params.yaml: preset tiny\n"
    assert Path("params.yaml").read_text() == PRESETS.text("tiny")


def test_what_is_no_text_is_kept(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    choose("tiny", PRESETS, path)
    assert (tmp_path / "params.yaml.before").read_bytes() == b"\xff\xfe\x00"
    assert path.read_text() == PRESETS.text("tiny")
