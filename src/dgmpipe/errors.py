"""The exceptions that end a job with a sentence rather than a traceback."""

__all__ = ["Interrupted", "UserError"]


class UserError(Exception):
    """A mistake that the user can fix: the message says what is wrong, where, and what to do.

    Jobs of the workflow print the message without a traceback. Wrong arguments of a library
    function raise `ValueError` or `TypeError` instead.
    """


class Interrupted(Exception):
    """The job was asked to stop (SIGTERM) and has left what it needs to continue."""
