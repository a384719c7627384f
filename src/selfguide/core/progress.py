"""Whether progress bars are wanted; light to import, as stages without a network should start at once."""

import os


def progress() -> bool:
    """False if the environment variable SELFGUIDE_PROGRESS is 0."""
    return os.environ.get("SELFGUIDE_PROGRESS", "1") != "0"
