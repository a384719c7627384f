"""Grids of a backbone's features over the images, computed once and kept, and which images are alike by them."""
