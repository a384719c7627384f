"""What images are guided by: ids and places as arrays on disk, and as tensors in the network."""
