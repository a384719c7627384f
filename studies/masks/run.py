"""Which segmenter finds the classes, and whether samples obey masks: tables for the images of params.yaml.

    python studies/masks/run.py methods --seeds 0 1 2     # mIoU and accuracy of every method on the same features
    python studies/masks/run.py ablations --seeds 0 1     # of STEGO, without what features of a small network need
    python studies/masks/run.py obedience                 # agreement of asked and found masks, and FD, against w

Each row is a `dvc exp run`, so that what was computed before comes from DVC's cache. A seed changes the images that are
rendered or chosen, the backbone and the segmenter. Tables go to NAME.csv and NAME.md beside this file.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from report import (  # noqa: E402
    Row,
    against_w,
    command,
    experiment,
    over_seeds,
    publish,
    results,
    write_csv,
)

STEGO = "masks.segmenter.method=stego"
#: Tables by their name: what makes the masks, and its settings.
TABLES = {
    "methods": {
        name: [f"masks.segmenter.method={name}"] for name in ("stego", "smooseg", "kmeans_patches", "pca", "primaps")
    },
    "ablations": {
        "stego": [STEGO],
        "stego, little hue jitter": [STEGO, "backbone.augmentation.hue=0.03"],
        "stego, mean subtracted": [STEGO, "masks.segmenter.subtract_mean=true"],
        "stego, centred by anchor": [STEGO, "masks.segmenter.stego.pointwise=true"],
        "stego, shifts as shipped": [STEGO, "masks.segmenter.stego.shifts=[0.18,0.12,0.46]"],
        "stego, empty clusters stay": [STEGO, "masks.segmenter.revive_every_steps=null"],
        "stego, clusters not refitted": [STEGO, "masks.segmenter.refit_clusters=false"],
    },
}
COLUMNS = ["mask_miou", "mask_accuracy", "mask_linear_miou", "mask_linear_accuracy", "mask_clusters_used",
           "mask_largest_cluster", "mask_confidence"]  # fmt: skip


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=[*TABLES, "obedience"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of methods and ablations")
    parser.add_argument("--w", type=float, nargs="+", default=[0.0, 1.0, 2.0, 3.0])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of every run")
    parser.add_argument("--name", help="results go to studies/masks/NAME.csv and NAME.md (default: the table)")
    args = parser.parse_args()
    name, rows = args.name or args.table, list[Row]()
    options = {"set": args.set, "name": [args.name] if args.name else []}
    if args.table == "obedience":
        rows = against_w(args.w, args.set)
        options["w"] = [f"{w:g}" for w in args.w]
        columns = [key for key in dict.fromkeys(key for row in rows for key in row) if not key.startswith("num_")]
        cells = [[f"{row.get(column, float('nan')):.3g}" for column in columns] for row in rows]
    else:
        for seed in args.seeds:
            for method, own in TABLES[args.table].items():
                experiment(["guidance=self_segmented", f"seed={seed}", *args.set, *own], "masks")
                rows.append({"method": method, "seed": seed, **results("masks")})
                write_csv(HERE / f"{name}.csv", rows)
        options["seeds"] = args.seeds
        columns, cells = ["method", *COLUMNS], over_seeds(rows, "method", COLUMNS)
    write_csv(HERE / f"{name}.csv", rows)
    publish(HERE / f"{name}.md", f"{command('studies/masks/run.py', args.table, **options)}:", columns, cells)


if __name__ == "__main__":
    main()
