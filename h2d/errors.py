"""The errors that reach a user."""


class UserError(ValueError):
    """A mistake in what the user gave: one line that names the thing, its value and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


class JobError(RuntimeError):
    """A job that cannot go on for a reason outside the program (disk, memory, a lost worker).

    The command line prints it without a traceback and exits with code 1; what was finished stays.
    """
