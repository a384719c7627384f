"""Feature networks for scoring; `registry` has the table of them."""
