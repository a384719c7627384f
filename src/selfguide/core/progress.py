"""Whether progress bars are wanted; light to import, as stages without a network should start at once."""

from selfguide.core import environment


def progress() -> bool:
    """False if the environment variable SELFGUIDE_PROGRESS is 0."""
    return environment.choice("SELFGUIDE_PROGRESS") == "1"
