"""A clock that tests move."""


class SteadyClock:
    """A monotonic clock that stands still until a test adds to its `seconds`."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds
