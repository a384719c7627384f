"""Whether samples obey: the annotator runs again on them, and finds the boxes that were asked for, or does not."""
