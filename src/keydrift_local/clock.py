"""The simulated clock: it stands still but for the steps of a rehearsal, and waiting takes no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock

_TICK = timedelta(microseconds=1)


class SimulatedClock:
    """A clock that is moved by hand. Each look at it is a microsecond later than the one before, so that what happens within one
    step keeps its order."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._lock = Lock()

    def now(self) -> datetime:
        """The simulated time."""
        with self._lock:
            self._now += _TICK
            return self._now

    async def sleep(self, seconds: float) -> None:
        """Return at once: waiting between retries is free of simulated time."""

    def move_to(self, when: datetime) -> None:
        """Move forward to that time; a time that has passed moves nothing."""
        with self._lock:
            self._now = max(self._now, when)
