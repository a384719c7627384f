"""Self-labels against true labels and no guidance, and boxes beside both, at equal budget, over several seeds.

    python studies/guidance/run.py --seeds 0 1 2
    python studies/guidance/run.py --kinds none self_labeled self_boxed ground_truth_label ground_truth_boxed

Runs `dvc exp run` once per kind and seed (whatever was run before comes from DVC's cache), collects
results/metrics.json of each run into studies/guidance/runs.csv, and prints mean and standard deviation as a table. A
seed changes everything random: the embedded data set, the backbone, training and sampling.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from selfguide.annotations.registry import KINDS

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from report import Row, command, experiment, over_seeds, publish, results, write_csv  # noqa: E402

FIRST = ["none", "self_labeled", "ground_truth_label"]


def run(kind: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """The scores of a kind, and those of its annotators."""
    experiment([f"guidance={kind}", f"seed={seed}", *settings])
    found = results("metrics")
    inputs = [name for name in KINDS[kind].inputs if name in ("clusters", "boxes", "masks")]
    for stage in [*inputs, "obedience"] if KINDS[kind].where and inputs else inputs:
        found |= {f"{stage}_{key}": value for key, value in results(stage).items()}
    return found


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=FIRST, metavar="KIND")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of every run")
    parser.add_argument("--name", default="runs", help="results go to studies/guidance/NAME.csv and NAME.md")
    parser.add_argument("--metrics", nargs="+", default=["fd_efficientnet_lite0", "fd_efficientnet_lite0_heldout",
                        "fd_efficientnet_lite0_floor", "is_efficientnet_lite0", "precision_efficientnet_lite0",
                        "recall_efficientnet_lite0"])  # fmt: skip
    args = parser.parse_args()
    rows: list[Row] = []
    for seed in args.seeds:
        for kind in args.kinds:
            rows.append({"guidance": kind, "seed": seed, **run(kind, seed, args.set)})
            write_csv(HERE / f"{args.name}.csv", rows)
    kinds = [] if args.kinds == FIRST else args.kinds
    name = [] if args.name == "runs" else [args.name]
    line = command("studies/guidance/run.py", seeds=args.seeds, kinds=kinds, set=args.set, name=name)
    over = "one seed" if len(args.seeds) == 1 else f"mean ± sd over {len(args.seeds)} seeds"
    cells = over_seeds(rows, "guidance", args.metrics)
    publish(HERE / f"{args.name}.md", f"{line}, {over}:", ["guidance", *args.metrics], cells)


if __name__ == "__main__":
    main()
