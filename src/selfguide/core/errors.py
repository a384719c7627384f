"""The one error class for anything that a user or a file can cause, and what its messages have in common."""

_SELF = ("self_labeled", "self_boxed")
#: Stages that exist under some kinds of guidance alone. Under another, DVC takes their names to mean every stage.
ONLY_UNDER = {
    "backbone": _SELF,
    "features": _SELF,
    "clusters": _SELF,
    "boxes": ("self_boxed",),
    **{kind: (kind,) for kind in (*_SELF, "none", "ground_truth_label", "ground_truth_boxed")},
}


class UserError(Exception):
    """Bad input. The message says where, what was expected, what was found and what to do.

    Stage scripts print it without a traceback and exit with status 2.
    """


def shown(text: object, length: int = 200) -> str:
    """What a file says, for a message: on one line, its first `length` characters."""
    text = str(text)
    more = f"... ({len(text)} characters)" if len(text) > length else ""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:length]) + more


def rerun(*stages: str) -> str:
    """What to do about missing or damaged artifacts: "run `dvc repro boxes` with guidance self_boxed".

    Args:
        stages: that make them; names in dvc.yaml.
    """
    under = [set(ONLY_UNDER[stage]) for stage in stages if stage in ONLY_UNDER]
    kinds = sorted(set.intersection(*under)) if under else []
    return f"run `dvc repro {' '.join(stages)}`" + f" with guidance {' or '.join(kinds)}" * bool(kinds)
