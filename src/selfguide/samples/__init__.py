"""Images drawn from the trained denoiser: guidance, samplers, and the sampling stage."""
