"""One guidance signal per image: from the data set's own labels, from clusters, or none."""
