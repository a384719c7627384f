"""What the denoiser is conditioned on: the chosen annotation, optionally corrupted."""
