import logging

import numpy as np
import pytest
import torch
from torch import nn

from selfguide.core.errors import UserError
from selfguide.core.rows import fill_rows


def _fill(root, calls, num_rows=10, batch_size=4):
    def function(start, stop, device):
        calls.append((start, stop))
        rows = torch.arange(start, stop)
        return {"x": rows[:, None].expand(-1, 2).bfloat16(), "y": rows.to(torch.uint8)}

    outputs = {"x": ((2,), "float32"), "y": ((), "uint8")}
    return fill_rows(nn.Linear(1, 1), function, num_rows, outputs, batch_size, root / "scratch", "rows")


def test_every_row_once_in_order(scratch_root):
    calls: list = []
    with _fill(scratch_root, calls)(scratch_root):
        pass
    assert calls == [(0, 4), (4, 8), (8, 10)]
    assert np.load(scratch_root / "x.npy")[:, 1].tolist() == list(range(10))
    assert np.load(scratch_root / "y.npy").dtype == np.uint8
    assert not (scratch_root / "scratch").exists()


def test_rows_in_memory_leave_nothing_on_the_disk(scratch_root):
    arrays = _fill(scratch_root, []).read()
    assert arrays["x"][:, 1].tolist() == arrays["y"].tolist() == list(range(10))
    assert not (scratch_root / "scratch").exists()


def test_finished_rows_that_were_never_kept_are_not_computed_again(scratch_root):
    calls: list = []
    filled = _fill(scratch_root, calls)
    before = len(calls)
    (scratch_root / "failed").mkdir()
    with pytest.raises(OSError, match="no room"), filled(scratch_root / "failed"):
        raise OSError("no room for meta.json")
    with _fill(scratch_root, calls)(scratch_root):
        pass
    assert len(calls) == before
    assert np.load(scratch_root / "y.npy").tolist() == list(range(10))


@pytest.mark.parametrize(("num_rows", "batch_size"), [(0, 4), (4, 0)])
def test_nothing_to_do_is_an_error(scratch_root, num_rows, batch_size):
    with pytest.raises(UserError, match="at least 1 row and batch_size >= 1"):
        _fill(scratch_root, [], num_rows, batch_size)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _as_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "cut": _cut, "empty": lambda path: path.write_bytes(b""), "missing": lambda path: path.unlink(),
    "a folder": _as_folder, "other rows": lambda path: np.save(path, np.zeros((9, 2), np.float32)),
    "another type": lambda path: np.save(path, np.zeros((10, 2))), "text": lambda path: path.write_text("rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["x", "done"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_work_in_progress_is_named_and_done_again(scratch_root, caplog, damage, name):
    calls: list = []
    _fill(scratch_root, calls)
    damage(scratch_root / f"scratch/{name}.npy")
    with caplog.at_level(logging.WARNING), _fill(scratch_root, calls)(scratch_root):
        pass
    assert f"{name}.npy" in caplog.text
    assert "starts over" in caplog.text
    assert calls == 2 * [(0, 4), (4, 8), (8, 10)]
    assert np.load(scratch_root / "x.npy")[:, 1].tolist() == list(range(10))


def test_rows_that_are_not_what_was_written_are_computed_again(scratch_root, caplog):
    calls: list = []
    _fill(scratch_root, calls)
    rows = np.load(scratch_root / "scratch/x.npy", mmap_mode="r+")
    rows[5] = 7
    rows.flush()
    del calls[:]
    with _fill(scratch_root, calls)(scratch_root):
        pass
    assert calls == [(4, 8)]
    assert "1 of 3 batches" in caplog.text
    assert np.load(scratch_root / "x.npy")[:, 1].tolist() == list(range(10))
