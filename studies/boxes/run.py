"""Where boxes come from, and whether samples obey them: two tables for the images and settings of params.yaml.

    python studies/boxes/run.py annotators        # CorLoc and IoU of every annotator on the same keys
    python studies/boxes/run.py obedience         # IoU of asked and found boxes, and FD, against w

Each row is a `dvc exp run`, so that what was computed before comes from DVC's cache. Tables go to NAME.csv and NAME.md
beside this file; params.yaml is put back.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from report import Row, against_w, command, experiment, publish, results, write_csv  # noqa: E402

ANNOTATORS = {
    "lost": ["boxes.method=lost", "boxes.subtract_mean_key=false"],
    "lost, mean key subtracted": ["boxes.method=lost", "boxes.subtract_mean_key=true"],
    "token_cut": ["boxes.method=token_cut", "boxes.subtract_mean_key=false"],
    "token_cut, mean key subtracted": ["boxes.method=token_cut", "boxes.subtract_mean_key=true"],
    "center": ["boxes.method=center"],
    "random_area_matched": ["boxes.method=random_area_matched"],
}


def annotators(args: argparse.Namespace) -> list[Row]:
    """A row per annotator, all on the keys of one backbone."""
    rows: list[Row] = []
    for name, values in ANNOTATORS.items():
        experiment(["guidance=self_boxed", *values, *args.set], "boxes")
        rows.append({"annotator": name, **results("boxes")})
    return rows


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["annotators", "obedience"])
    parser.add_argument("--w", type=float, nargs="+", default=[0.0, 1.0, 1.5, 2.0, 3.0, 5.0])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of every run")
    parser.add_argument("--name", help="results go to studies/boxes/NAME.csv and NAME.md (default: the table)")
    args = parser.parse_args()
    rows = annotators(args) if args.table == "annotators" else against_w(args.w, args.set)
    name, options = args.name or args.table, {"set": args.set}
    if args.table == "obedience":
        options["w"] = [f"{w:g}" for w in args.w]
    write_csv(HERE / f"{name}.csv", rows)
    columns = [column for column in dict.fromkeys(key for row in rows for key in row) if not column.startswith("num_")]
    values = ([row.get(column, "") for column in columns] for row in rows)
    cells = ([value if isinstance(value, str) else f"{value:.3g}" for value in row] for row in values)
    publish(HERE / f"{name}.md", f"{command('studies/boxes/run.py', args.table, **options)}:", columns, cells)


if __name__ == "__main__":
    main()
