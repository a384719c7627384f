"""What the denoiser works in: pixels."""
