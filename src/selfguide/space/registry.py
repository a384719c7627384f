"""The spaces by the name that a trained model's meta.json has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfguide.core.errors import UserError
from selfguide.space.pixels import Pixels
from selfguide.space.space import Space

SPACES: dict[str, type[Space]] = {"pixels": Pixels}


def describe(space: Space) -> dict[str, Any]:
    """For meta.json; `load_space` reads it."""
    return {"name": space.name, **space.facts()}


def load_space(described: Mapping[str, Any], folder: Path) -> Space:
    """The space of a trained model.

    Args:
        described: by `describe`.
        folder: of the model.

    Raises:
        UserError: a name that this version does not know.
    """
    facts = dict(described)
    name = facts.pop("name")
    if name not in SPACES:
        raise UserError(f"{folder}: unknown space {name!r}; known: {', '.join(SPACES)}")
    return SPACES[name].load(facts, folder)
