"""Tables of studies: rows in, the committed files out."""

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import matplotlib as mpl
import pytest
import report

from tests.conftest import ROOT

mpl.use("Agg")
import matplotlib.pyplot as plt

STUDIES = ["boxes", "guidance", "masks", "sensitivity", "solvers"]


def study(name: str) -> ModuleType:
    path = ROOT / f"studies/{name}/run.py"
    spec = importlib.util.spec_from_file_location(f"study_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def committed(path: str) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the table in a committed file."""
    lines = [line for line in (ROOT / path).read_text().splitlines() if line.startswith("|")]
    titles, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return titles, rows


def tables(study: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "studies" / study).glob("*.csv"))


@pytest.mark.parametrize("name", tables("guidance"))
def test_the_committed_table_of_guidance_is_that_of_its_rows(name):
    (_, *metrics), rows = committed(f"studies/guidance/{name}.md")
    found = report.over_seeds(report.read_csv(ROOT / f"studies/guidance/{name}.csv"), "guidance", metrics)
    assert found == rows


@pytest.mark.parametrize(("name", "network"), [("runs", "efficientnet_lite0"), ("backbone", "backbone")])
def test_the_committed_table_of_sensitivity_is_that_of_its_rows(name, network):
    rows = report.read_csv(ROOT / f"studies/sensitivity/{name}.csv")
    found = study("sensitivity").cells_of(rows, SimpleNamespace(key=f"fd_{network}", name=network))
    assert found == committed(f"studies/sensitivity/{name}.md")


def test_the_committed_table_of_solvers_is_that_of_its_rows():
    module = study("solvers")
    rows = [row for row in module.read(ROOT / "studies/solvers/runs.csv") if row.part == "solvers"]
    text = (ROOT / "studies/solvers/runs.md").read_text()
    assert "\n".join(module.solver_table(rows)) in text
    first = rows[0]
    assert isinstance(first.fd, float)
    assert isinstance(first.steps, int)


@pytest.mark.parametrize("name", ["annotators", "obedience", "tinyimagenet_annotators"])
def test_the_committed_table_of_boxes_is_that_of_its_rows(name):
    rows = report.read_csv(ROOT / f"studies/boxes/{name}.csv")
    titles, cells = committed(f"studies/boxes/{name}.md")
    assert titles == [column for column in rows[0] if not column.startswith("num_")]
    assert cells == [
        [row[title] if title == "annotator" else f"{float(row[title]):.3g}" for title in titles] for row in rows
    ]


@pytest.mark.parametrize("name", tables("masks"))
def test_the_committed_table_of_masks_is_that_of_its_rows(name):
    rows = report.read_csv(ROOT / f"studies/masks/{name}.csv")
    titles, cells = committed(f"studies/masks/{name}.md")
    if titles[0] == "method":
        assert cells == report.over_seeds(rows, "method", titles[1:])
    else:
        assert titles == [column for column in rows[0] if not column.startswith("num_")]
        assert cells == [[f"{float(row[title]):.3g}" for title in titles] for row in rows]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_as_a_script(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / f"studies/{name}/run.py"), run_name="__main__")
    assert done.value.code == 0
    assert "usage: run.py" in capsys.readouterr().out


def test_rows_come_back_with_a_column_for_every_key(tmp_path):
    rows = [{"a": 1, "b": 0.5}, {"a": 2, "c": "x, y"}]
    report.write_csv(tmp_path / "t.csv", rows)
    assert (tmp_path / "t.csv").read_text() == 'a,b,c\n1,0.5,\n2,,"x, y"\n'
    assert report.read_csv(tmp_path / "t.csv") == [{"a": "1", "b": "0.5", "c": ""}, {"a": "2", "b": "", "c": "x, y"}]
    assert report.read_csv(tmp_path / "none.csv") == []


def test_means_over_seeds_keep_the_order_of_groups():
    rows = [{"k": "b", "fd": 1.0}, {"k": "a", "fd": "5"}, {"k": "b", "fd": 3.0}]
    assert report.over_seeds(rows, "k", ["fd"]) == [["b", "2 ± 1.41"], ["a", "5 (one seed)"]]


def test_a_table_is_written_with_its_command(tmp_path, capsys):
    line = report.command("studies/x/run.py", "part", seeds=[0, 1], set=[], name=["a b"])
    report.publish(tmp_path / "t.md", line, ["x", "y"], [["1", "2"]])
    expected = "`python studies/x/run.py part --seeds 0 1 --name 'a b'`\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n"
    assert (tmp_path / "t.md").read_text() == expected
    assert capsys.readouterr().out == f"{expected}\n"


def test_experiments_leave_params_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("k: 20\n")
    Path("results").mkdir()
    Path("results/metrics.json").write_text('{"fd": 2}')
    ran, seen = [], []

    def run(words: list[str], check: bool) -> None:
        ran.append(words)
        seen.append(Path("params.yaml").read_text())
        Path("params.yaml").write_text("k: 3\n")
        if "seed=1" in words:
            raise subprocess.CalledProcessError(1, words)

    monkeypatch.setattr(subprocess, "run", run)
    report.experiment(["k=3", "w=2"], "clusters")
    with pytest.raises(subprocess.CalledProcessError):
        report.experiment(["seed=1"])
    assert seen == ["k: 20\n", "k: 20\n"]  # what one sets, the next does not inherit
    assert ran[:1] == [["dvc", "exp", "run", "--quiet", "-S", "k=3", "-S", "w=2", "clusters"]]
    assert Path("params.yaml").read_text() == "k: 20\n"
    assert report.results("metrics") == {"fd": 2}


def test_lines_show_means_deviations_and_levels():
    figure, axis = plt.subplots()
    report.draw_lines(axis, {"ours": {1.0: [2.0, 4.0], 5.0: [1.0]}}, {"real": 0.5})
    (container,) = axis.containers
    line, _, (bars,) = container
    assert line.get_xydata().tolist() == [[1, 3], [5, 1]]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends[0] == pytest.approx([3 - 2**0.5, 3 + 2**0.5])
    assert [text.get_text() for text in axis.texts] == ["real"]
    plt.close(figure)
