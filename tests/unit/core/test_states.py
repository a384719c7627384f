"""States that a training can go on from, and those that it cannot."""

import logging
import shutil

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from selfguide.core import runtime
from selfguide.core.states import state_to_resume


class Line(pl.LightningModule):
    def __init__(self, width=3):
        super().__init__()
        self.layer = torch.nn.Linear(width, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(torch.ones(1, self.layer.in_features)).sum()

    def train_dataloader(self):
        return DataLoader(range(4), batch_size=None)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def state(scratch_root):
    trainer = runtime.trainer(max_steps=2, enable_progress_bar=False)
    trainer.fit(Line())
    path = scratch_root / "run/last.ckpt"
    trainer.save_checkpoint(path, weights_only=False)
    return path


def test_a_whole_state_is_gone_on_from(state):
    assert state_to_resume(state, Line()) == state
    trainer = runtime.trainer(max_steps=5, enable_progress_bar=False)
    trainer.fit(Line(), ckpt_path=state, weights_only=True)
    assert trainer.global_step == 5
    assert [p.name for p in state.parent.iterdir()] == ["last.ckpt"]


def test_none_is_none(state, caplog):
    assert state_to_resume(state.parent / "other.ckpt", Line()) is None
    assert not caplog.text


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path):
    data = bytearray(path.read_bytes())
    place = data.index((1.0).hex().encode()) if (1.0).hex().encode() in data else len(data) // 2
    data[place] ^= 255
    path.write_bytes(data)


def foreign(path):
    torch.save({"state_dict": {}}, path)


def of_another_run(path):
    shutil.copytree(path.parent, path.parent.with_name("other"))
    loaded = torch.load(path, weights_only=True)
    torch.save({**loaded, "selfguide_run": "other"}, path)


def a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""), "text": lambda path: path.write_text("<html>"), "cut": cut,
    "flipped": flipped, "foreign": foreign, "of another run": of_another_run, "a folder": a_folder,
    "a list": lambda path: torch.save([1], path),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_state_is_named_and_the_training_starts_over(state, caplog, damage):
    damage(state)
    with caplog.at_level(logging.WARNING):
        assert state_to_resume(state, Line()) is None
    assert str(state) in caplog.text
    assert "the training starts over" in caplog.text


def test_a_state_of_another_network(state, caplog):
    assert state_to_resume(state, Line(4)) is None
    assert "that of another network" in caplog.text


def test_what_else_the_run_says_is_wrong(state, caplog):
    assert state_to_resume(state, Line(), lambda found: "a snapshot is missing") is None
    assert "a snapshot is missing" in caplog.text
