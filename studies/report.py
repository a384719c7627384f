"""What studies share: a row is a `dvc exp run`, rows are NAME.csv, and NAME.md and NAME.png are made of rows.

Scripts beside this file's folder import it by its path, as in studies/boxes/run.py.
"""

import csv
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from harness import table  # noqa: E402

Row = Mapping[str, Any]


def experiment(settings: Iterable[str], *targets: str) -> None:
    """`dvc exp run` with settings KEY=VALUE, of some stages or all; what was run before comes from DVC's cache.

    DVC leaves the settings in params.yaml; it is put back here, so that no experiment inherits those of another.
    """
    values = (part for value in settings for part in ("-S", value))
    params = Path("params.yaml")
    before = params.read_bytes()
    try:
        subprocess.run(["dvc", "exp", "run", "--quiet", *values, *targets], check=True)
    finally:
        params.write_bytes(before)


def results(*names: str) -> dict[str, Any]:
    """Keys and values of results/NAME.json, of all names together."""
    found: dict[str, Any] = {}
    for name in names:
        found |= json.loads(Path(f"results/{name}.json").read_text())
    return found


def against_w(strengths: Iterable[float], settings: Sequence[str]) -> list[Row]:
    """A row per guidance strength, all of one model: obedience, and how near to real images its samples are."""
    rows: list[Row] = []
    for w in strengths:
        experiment([f"w={w}", *settings])
        kept = ("fd_", "fid", "precision_", "recall_")
        beside = ("_heldout", "_floor", "_real", "_sd")  # the same in each row, or of no use here
        scores = results("metrics")
        own = {key: value for key, value in scores.items() if key.startswith(kept) and not key.endswith(beside)}
        rows.append({"w": w, **results("obedience"), **own})
    return rows


def command(script: str, *arguments: object, **options: Sequence[object]) -> str:
    """The command line of a study, in Markdown; options without values are left out."""
    words = ["python", script, *map(str, arguments)]
    for name, values in options.items():
        words += [f"--{name}", *map(str, values)] if values else []
    return f"`{shlex.join(words)}`"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows; a column for every key that one of them has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows as they were written, each value as text; none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def spread(values: Sequence[float], mean: str = ".4g", sd: str = ".3g", alone: str = " (one seed)") -> str:
    """Mean ± standard deviation over seeds; with one seed, the value and `alone`."""
    deviation = f" ± {statistics.stdev(values):{sd}}" if len(values) > 1 else alone
    return f"{statistics.mean(values):{mean}}{deviation}"


def over_seeds(rows: Sequence[Row], by: str, columns: Sequence[str]) -> list[list[str]]:
    """Cells of a table: for each value of the column `by`, in order, `spread` of the other columns."""
    cells = []
    for group in dict.fromkeys(row[by] for row in rows):
        mine = [row for row in rows if row[by] == group]
        cells.append([str(group), *(spread([float(row[column]) for row in mine]) for column in columns)])
    return cells


def publish(path: Path, head: str, columns: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    """Write a Markdown file, a line and a table, and print it.

    Args:
        path: of the file.
        head: what the table is, its command first.
        columns: titles.
        cells: texts, a row each.
    """
    text = "\n".join([head, "", *table(columns, cells)]) + "\n"
    path.write_text(text)
    print(text)


def draw_lines(axis: Any, lines: Mapping[str, Mapping[float, Sequence[float]]], levels: Mapping[str, float]) -> None:
    """Lines with error bars over seeds, and dotted levels to compare with.

    Args:
        axis: of matplotlib.
        lines: name => x => values of all seeds.
        levels: name => y of a horizontal line.
    """
    for name, points in lines.items():
        means = [statistics.mean(values) for values in points.values()]
        deviations = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in points.values()]
        axis.errorbar(list(points), means, yerr=deviations, marker="o", capsize=2, label=name)
    for name, level in levels.items():
        axis.axhline(level, color="gray", linestyle=":")
        axis.annotate(name, (0, level), xycoords=("axes fraction", "data"), fontsize="small", va="bottom")
    axis.grid(alpha=0.3)
