"""How good samples are: FD (FID), IS, KID, precision, recall, density and coverage, in the space of a named network."""
