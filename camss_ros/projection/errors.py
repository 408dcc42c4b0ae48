"""Why a message cannot be projected."""


class ProjectionRejectedError(ValueError):
    """A message that cannot be used.

    Attributes:
        reason: a few words for the kind of fault, to count by: "calibration", "cloud", "depth", ...
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
