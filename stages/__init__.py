"""One thin script per stage: `python -m stages.NAME --help`."""
