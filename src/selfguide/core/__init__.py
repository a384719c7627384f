"""What every package shares: errors, strict configuration, artifacts, seeding, pixels and the Lightning runtime."""
