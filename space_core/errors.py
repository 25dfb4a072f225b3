"""What a user did wrong, in words a user understands."""


class SpaceError(Exception):
    """An input or option that SPACE can't use.

    The message is one or two plain sentences: what is wrong and what to do about it. It is shown as it is at the
    page, on the command line (exit code 2) and to callers of the package.
    """
