"""A box around an image's object, found without annotation: LOST, TokenCut, and controls to compare them with."""
