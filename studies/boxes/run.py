"""Where boxes come from, and whether samples obey them: two tables for the images and settings of params.yaml.

    python studies/boxes/run.py annotators        # CorLoc and IoU of every annotator on the same keys
    python studies/boxes/run.py obedience         # IoU of asked and found boxes, and FD, against w

Each row is a `dvc exp run`, so that what was computed before comes from DVC's cache. Tables go to NAME.csv and NAME.md
beside this file; params.yaml is put back.
"""

import argparse
import csv
import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ANNOTATORS = {
    "lost": ["boxes.method=lost", "boxes.subtract_mean_key=false"],
    "lost, mean key subtracted": ["boxes.method=lost", "boxes.subtract_mean_key=true"],
    "token_cut": ["boxes.method=token_cut", "boxes.subtract_mean_key=false"],
    "token_cut, mean key subtracted": ["boxes.method=token_cut", "boxes.subtract_mean_key=true"],
    "center": ["boxes.method=center"],
    "random_area_matched": ["boxes.method=random_area_matched"],
}
Row = dict[str, str | float]


def _dvc(values: list[str], *targets: str) -> None:
    settings = (part for value in values for part in ("-S", value))
    subprocess.run(["dvc", "exp", "run", "--quiet", *settings, *targets], check=True)


def _read(name: str) -> Row:
    found: Row = json.loads(Path(f"results/{name}.json").read_text())
    return found


def annotators(args: argparse.Namespace) -> list[Row]:
    """A row per annotator, all on the keys of one backbone."""
    rows: list[Row] = []
    for name, values in ANNOTATORS.items():
        _dvc(["guidance=self_boxed", *values, *args.set], "boxes")
        rows.append({"annotator": name, **_read("boxes")})
    return rows


def obedience(args: argparse.Namespace) -> list[Row]:
    """A row per guidance strength, all of one model."""
    rows: list[Row] = []
    for w in args.w:
        _dvc([f"w={w}", *args.set])
        scores = _read("metrics")
        kept = ("fd_", "fid", "precision_", "recall_")
        beside = ("_heldout", "_floor", "_real", "_sd")  # the same in each row, or of no use here
        own = {key: value for key, value in scores.items() if key.startswith(kept) and not key.endswith(beside)}
        rows.append({"w": w, **_read("obedience"), **own})
    return rows


def _save(path: Path, rows: list[Row], command: str) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(path.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    shown = [column for column in columns if not column.startswith("num_")]
    lines = ["| " + " | ".join(shown) + " |", "|---" * len(shown) + "|"]
    for row in rows:
        values = (row.get(column, "") for column in shown)
        cells = (value if isinstance(value, str) else f"{value:.3g}" for value in values)
        lines.append("| " + " | ".join(cells) + " |")
    path.with_suffix(".md").write_text(f"`{command}`:\n\n" + "\n".join(lines) + "\n")


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["annotators", "obedience"])
    parser.add_argument("--w", type=float, nargs="+", default=[0.0, 1.0, 1.5, 2.0, 3.0, 5.0])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of every run")
    parser.add_argument("--name", help="results go to studies/boxes/NAME.csv and NAME.md (default: the table)")
    args = parser.parse_args()
    before = Path("params.yaml").read_text()
    try:
        rows = {"annotators": annotators, "obedience": obedience}[args.table](args)
    finally:
        Path("params.yaml").write_text(before)
    name = args.name or args.table
    command = f"python studies/boxes/run.py {args.table}" + f" --set {' '.join(args.set)}" * bool(args.set)
    command += f" --w {' '.join(f'{w:g}' for w in args.w)}" * (args.table == "obedience")
    _save(HERE / name, rows, command)
    print((HERE / name).with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
