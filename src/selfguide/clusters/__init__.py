"""k-means over the features: the self-labels of the images."""
