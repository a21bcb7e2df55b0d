"""The one exception that means: the user can mend this."""


class JetloomError(Exception):
    """A mistake in the user's input: file, configuration or command line.

    The message is one line that says what is wrong, where, and what was expected. ``jetloom`` prints it without
    a traceback and exits with status 1.
    """
