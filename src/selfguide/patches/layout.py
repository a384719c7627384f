"""Of which views of each image features are kept: as it is, mirrored, and five crops."""

WHOLE, MIRROR = 0, 1
CROPS = ("top left", "top right", "bottom left", "bottom right", "centre")
#: Number of views by `patches.crops`.
NUM_VIEWS = {"none": 2, "five": 2 + len(CROPS)}
