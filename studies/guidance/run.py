"""Self-labels against true labels and no guidance, and boxes beside both, at equal budget, over several seeds.

    python studies/guidance/run.py --seeds 0 1 2
    python studies/guidance/run.py --kinds none self_labeled self_boxed ground_truth_label ground_truth_boxed

Runs `dvc exp run` once per kind and seed (whatever was run before comes from DVC's cache), collects
results/metrics.json of each run into studies/guidance/runs.csv, and prints mean and standard deviation as a table. A
seed changes everything random: the embedded data set, the backbone, training and sampling. params.yaml is put back.
"""

import argparse
import csv
import json
import statistics
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("none", "self_labeled", "ground_truth_label", "self_boxed", "ground_truth_boxed")


def _run(kind: str, seed: int, settings: list[str]) -> dict[str, float]:
    values = [f"guidance={kind}", f"seed={seed}", *settings]
    command = ["dvc", "exp", "run", "--quiet", *(part for value in values for part in ("-S", value))]
    subprocess.run(command, check=True)
    metrics: dict[str, float] = json.loads(Path("results/metrics.json").read_text())
    for annotator in {"self_labeled": ("clusters",), "self_boxed": ("clusters", "boxes", "obedience")}.get(kind, ()):
        found = json.loads(Path(f"results/{annotator}.json").read_text())
        metrics |= {f"{annotator}_{key}": value for key, value in found.items()}
    return metrics


def _table(rows: list[dict[str, str | float]], kinds: list[str], metrics: list[str]) -> str:
    lines = ["| guidance | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    for kind in kinds:
        cells = []
        for metric in metrics:
            values = [float(row[metric]) for row in rows if row["guidance"] == kind]
            spread = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else " (one seed)"
            cells.append(f"{statistics.mean(values):.4g}{spread}")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS[:3], metavar="KIND")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of every run")
    parser.add_argument("--name", default="runs", help="results go to studies/guidance/NAME.csv and NAME.md")
    parser.add_argument("--metrics", nargs="+", default=["fd_efficientnet_lite0", "fd_efficientnet_lite0_heldout",
                        "fd_efficientnet_lite0_floor", "is_efficientnet_lite0", "precision_efficientnet_lite0",
                        "recall_efficientnet_lite0"])  # fmt: skip
    args = parser.parse_args()
    before = Path("params.yaml").read_text()
    rows: list[dict[str, str | float]] = []
    try:
        for seed in args.seeds:
            for kind in args.kinds:
                rows.append({"guidance": kind, "seed": seed, **_run(kind, seed, args.set)})
                columns = list(dict.fromkeys(key for row in rows for key in row))
                with open(HERE / f"{args.name}.csv", "w", newline="") as file:
                    writer = csv.DictWriter(file, columns, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)
    finally:
        Path("params.yaml").write_text(before)
    command = f"python studies/guidance/run.py --seeds {' '.join(map(str, args.seeds))}"
    command += f" --kinds {' '.join(args.kinds)}" * (tuple(args.kinds) != KINDS[:3])
    command += f" --set {' '.join(args.set)}" * bool(args.set) + f" --name {args.name}" * (args.name != "runs")
    over = "one seed" if len(args.seeds) == 1 else f"mean ± sd over {len(args.seeds)} seeds"
    table = f"`{command}`, {over}:\n\n{_table(rows, args.kinds, args.metrics)}\n"
    (HERE / f"{args.name}.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
