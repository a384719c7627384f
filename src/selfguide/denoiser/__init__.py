"""The trained network: noise schedules, the U-Net variants, and training under Lightning."""
