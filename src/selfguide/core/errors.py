"""The one error class for anything that a user or a file can cause, and what its messages have in common."""

import functools
from pathlib import Path

import yaml

#: Where dvc.yaml lies beside these sources.
_PROJECT = Path(__file__).parents[3]


class UserError(Exception):
    """Bad input. The message says where, what was expected, what was found and what to do.

    Stage scripts print it without a traceback and exit with status 2.
    """


def shown(text: object, length: int = 200) -> str:
    """What a file says, for a message: on one line, its first `length` characters."""
    text = str(text)
    more = f"... ({len(text)} characters)" if len(text) > length else ""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:length]) + more


@functools.cache  # it is asked for whenever an array is opened, and reads dvc.yaml
def rerun(*stages: str) -> str:
    """What to do about missing or damaged artifacts: "run `dvc repro boxes` with guidance self_boxed".

    Under a kind of guidance that does not need it, DVC would take a stage's name to mean every stage.

    Args:
        stages: that make them; names in dvc.yaml.
    """
    under = [kinds for kinds in map(kinds_of, stages) if kinds]
    kinds = sorted(set.intersection(*under)) if under else []
    return f"run `dvc repro {' '.join(stages)}`" + f" with guidance {' or '.join(kinds)}" * bool(kinds)


def kinds_of(stage: str, project: Path = _PROJECT) -> set[str]:
    """The kinds of guidance under which dvc.yaml has a stage; empty: under all, or nothing is known of it."""
    try:
        entry = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    except (OSError, ValueError, TypeError, LookupError, yaml.YAMLError):  # an error has been found already
        return set()
    matrix = entry.get("matrix", {}) if isinstance(entry, dict) else {}
    return {key.removeprefix("when_") for key in matrix if "$" not in key}
