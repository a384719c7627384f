"""The real images as the metrics see them: features of the train and held-out sets, computed once."""
