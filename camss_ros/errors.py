"""What a command reports by its message alone."""


class CamssError(RuntimeError):
    """Something that the user can mend; the message says what and where."""
