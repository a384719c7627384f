"""Which of the trained weights the samples are drawn from: the last, or the best by a metric."""
