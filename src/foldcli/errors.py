"""Errors that reach the user: one line that names what is wrong and the way out."""


class FoldcliError(Exception):
    """A failure that the command line prints on one line; `exit_code` 1 says that some of the work failed."""

    exit_code = 1


class InputError(FoldcliError):
    """Bad usage or input, found before any work."""

    exit_code = 2


class WeightsError(FoldcliError):
    """Parameters that are missing, damaged or of another preset."""

    exit_code = 2


class Interrupted(FoldcliError):
    """The user stopped the work."""

    exit_code = 130


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, its kind if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
