"""The error of everything that reads a data set."""


class DataError(ValueError):
    """A data set is not laid out, or a file does not hold, what was expected; says which."""
