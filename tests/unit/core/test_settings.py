"""`--set` does what `dvc exp run -S` does."""

import shutil
import sys

import pytest
from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides

from selfguide.core.config import read_yaml
from selfguide.core.errors import UserError
from selfguide.core.settings import with_settings
from selfguide.params import load_params
from stages import guidance
from tests.conftest import ROOT

VALUES = read_yaml(ROOT / "params.yaml")
SET = [
    ["k=40"], ["k=40", "w=3"], ["k=40", "k=41"], ["w=-1"], ["w=1e-5"], ["denoiser.learning_rate=1e-05"], ["w=.5"],
    ["samples.ids=[1,2]"], ["samples.ids=[[1, 2],[3]]"], ["samples.boxes=[[0,0,4,4]]"],
    ["samples.guidance_interval=null"],
    ["samples.clip=false"], ["samples.clip=True"], ["backbone.checkpoint=data/raw/a.pth"], ["images.path='a b.zip'"],
    ["images.path=[photos.zip,data/raw]"], ["checkpoint.weak_model=700"], ["denoiser.network.variant=cross_attention"],
    ["backbone.augmentation={flip: 0.25, hue: 0}"], ["samples.batch_size=auto"], ["images.path="],
    ["images.path=1_000"],
    ["images.path=\"it's\""], ["images.path=a\\,b"], ["images.path=0x10"], ["images.path=1.0"], ["images.path=yes"],
]  # fmt: skip


@pytest.mark.parametrize("settings", SET, ids=str)
def test_the_values_are_those_of_dvc(tmp_path, settings):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    apply_overrides(path, settings)
    assert with_settings(VALUES, settings) == read_yaml(path)
    assert read_yaml(ROOT / "params.yaml") == VALUES, "nothing is changed in place"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["kk=3"], "kk: unknown key; did you mean .k."),
        (["samples.sampelr=ddim"], "samples.sampelr: unknown key; did you mean .sampler."),
        (["denoiser.base_channels=3"], "denoiser.base_channels: unknown key; did you mean .network.base_channels."),
        (["k.x=3"], "k.x: unknown key"), (["k"], "expected KEY=VALUE"), (["=3"], "expected KEY=VALUE"),
        (["k=1,2"], "one value"), (["+new=3"], "one value"), (["~k"], "one value"), (["k=[1"], "expected KEY=VALUE"),
        (["k={a:"], "expected KEY=VALUE"), ([""], "expected KEY=VALUE"), (["k=a:b,c"], "one value"),
        (["k=range(3)"], ""), ([f"k={'9' * 5000}"], "expected KEY=VALUE"),
        ([f"k={'{a:' * 300}1{'}' * 300}"], "expected KEY=VALUE"), (["k=5\n"], "expected KEY=VALUE"),
    ],
)  # fmt: skip
def test_what_is_no_setting(settings, message):
    with pytest.raises(UserError, match=rf"--set .*{message}") as caught:
        with_settings(VALUES, settings)
    assert len(str(caught.value)) < 700, "however long the setting"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [["kk=3"], ["k=[1"], ["samples.x=1"]])
def test_dvc_refuses_the_same(tmp_path, settings):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with pytest.raises(DvcException):
        apply_overrides(tmp_path / "params.yaml", settings)


def test_settings_are_checked_as_the_file_is():
    path = ROOT / "params.yaml"
    assert load_params(path, ["k=40", "w=1e-3"]).w == 0.001
    with pytest.raises(
        UserError, match=r"params.yaml with --set k=0: k: should be greater than or equal to 1, found 0"
    ):
        load_params(path, ["k=0"])
    with pytest.raises(UserError, match=r"with --set k=6000 w=2: k: expected at most 5000"):
        load_params(path, ["k=6000", "w=2"])


def test_stages_take_them_several_times(scratch_root, monkeypatch):
    command = ["guidance", "--params", str(ROOT / "params.yaml"), "--set", "guidance=none", "k=3", "--set", "w=2"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", "guidance.json"])
    guidance.main()
    assert (scratch_root / "guidance.json").read_text() == '{\n  "guidance": "none"\n}\n'
