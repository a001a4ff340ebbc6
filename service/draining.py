"""Whether the service is being stopped: it takes no further connections and answers those that it has."""

from collections.abc import Callable


class Drain:
    """Begins when the service is told to stop, and runs out when those who wait have had their time."""

    def __init__(self) -> None:
        self._has_begun = False
        self._stops: list[Callable[[], None]] = []

    @property
    def has_begun(self) -> bool:
        """Say whether the service is being stopped."""
        return self._has_begun

    def begin(self) -> None:
        """Note that the service is being stopped. Safe to call from a signal's handler, and again."""
        self._has_begun = True

    def when_time_is_up(self, stop: Callable[[], None]) -> None:
        """Have something called for those who still wait when the time to answer them has run out."""
        self._stops.append(stop)

    def run_out(self) -> None:
        """Let nobody wait any longer."""
        for stop in self._stops:
            stop()
