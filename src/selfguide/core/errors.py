"""The one error class for anything that a user or a file can cause."""


class UserError(Exception):
    """Bad input. The message says where, what was expected, what was found and what to do.

    Stage scripts print it without a traceback and exit with status 2.
    """


def shown(text: object, length: int = 200) -> str:
    """What a file says, for a message: on one line, its first `length` characters."""
    text = str(text)
    more = f"... ({len(text)} characters)" if len(text) > length else ""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:length]) + more
