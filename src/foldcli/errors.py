"""Errors that reach the user as one line: what is wrong, and what to do about it."""


class FoldcliError(Exception):
    """A failure that the command line prints as one line; exit code 1: some of the work failed."""

    exit_code = 1


class InputError(FoldcliError):
    """Wrong usage or input, found before any work."""

    exit_code = 2


class WeightsError(FoldcliError):
    """Parameters that are missing, damaged or of another preset."""

    exit_code = 2


class Interrupted(FoldcliError):
    """The user stopped the work."""

    exit_code = 130


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
