"""A class of each pixel, found without annotation: STEGO, SmooSeg, and controls to compare them with."""
