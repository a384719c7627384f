"""Cluster the features with k-means: the self-labels.

Reads data/features; writes data/clusters. The images, and their labels if there are any, serve only the picture and
the metrics: results/clusters.png and results/clusters.json.
"""

from selfguide.clusters.artifact import Clusters
from selfguide.clusters.kmeans import kmeans
from selfguide.clusters.metrics import measure
from selfguide.clusters.picture import draw_clusters
from selfguide.core.artifact import write_json
from selfguide.core.errors import UserError, rerun
from selfguide.core.stage import parser, run
from selfguide.features.artifact import Features
from selfguide.images.artifact import ImageSet
from selfguide.images.grid import save_picture
from selfguide.params import load_params


def main() -> None:
    """Run the stage."""
    args = parser(
        __doc__,
        features="data/features",
        images="data/images",
        out="data/clusters",
        metrics="results/clusters.json",
        picture="results/clusters.png",
    ).parse_args()
    params = load_params(args.params, args.set)
    config = params.clusters
    features, train = Features.load(args.features), ImageSet.load(args.images).train
    if len(features.features) != len(train):
        raise UserError(
            f"{args.features}: {len(features.features)} features, {args.images} has {len(train)} images;"
            f" {rerun('features')}"
        )
    result = kmeans(
        features.features,
        params.k,
        params.seed,
        num_iterations=config.num_iterations,
        num_redo=config.num_redo,
        max_points_per_centroid=config.max_points_per_centroid,
    )
    clusters = Clusters(
        result.ids, result.centroids, result.sizes, params.k, result.inertia, params.seed, features.backbone
    )
    clusters.save(args.out, features=features.digest)

    write_json(args.metrics, measure(result, train.main_labels))
    picture = draw_clusters(train.pixels, clusters, config.picture_rows, config.picture_columns)
    save_picture(args.picture, picture)


if __name__ == "__main__":
    run(main)
