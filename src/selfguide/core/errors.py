"""The one error class for anything that a user or a file can cause."""


class UserError(Exception):
    """Bad input. The message says where, what was expected, what was found and what to do.

    Stage scripts print it without a traceback and exit with status 2.
    """
