"""The errors that scripts print as one line."""


class UserError(ValueError):
    """Something that the user can put right.

    The message says what was received, what was expected and what to do. Scripts print it as one
    line; any other exception is a fault of the program and keeps its traceback.
    """


class Interrupted(Exception):
    """A run was asked to stop; its state is saved, and the same command continues from there."""


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or its type where it has none."""
    return (str(error) or type(error).__name__).splitlines()[0]
