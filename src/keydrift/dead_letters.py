"""Events that did not come the straight way: what Event Grid could not deliver, and what failed in the queue five times.

Each becomes a dead letter in the state, with the reason, and then goes the same way as any other event: an event is a hint, so
one that comes a day late, or twice, does no harm. Blobs are called `{EVENT SUBSCRIPTION}/{yyyy}/{m}/{d}/{h}/{guid}.json` and hold
an array of events, each as it would have been delivered, with members that tell why it was not
(learn.microsoft.com/azure/event-grid/manage-event-delivery, …/delivery-and-retry).

INVARIANT (nothing is lost): a blob is deleted after every event in it was recorded and taken, and only in the version read.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from logging import getLogger

from keydrift.errors import DecodeError
from keydrift.event_json import Members, fingerprint, instant, members, parse, text
from keydrift.kept_payload import kept
from keydrift.ports import Clock, DeadLetterContainer
from keydrift.state import State

log = getLogger(__name__)

# Enough for a function's time; what is left over is taken ten minutes later
MOST_BLOBS = 500
_PRUNE_EVERY = timedelta(days=1)
_LATE = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Returned:
    """An event that came back: why, as one line, and when it was given up."""

    payload: str
    event_id: str
    reason: str
    at: datetime


class DeadLetters:
    """Takes back what was given up. `receive` is the straight path's first step. Methods raise StateError."""

    def __init__(
        self, *, state: State, container: DeadLetterContainer, receive: Callable[[str], Awaitable[None]], clock: Clock
    ) -> None:
        self._state, self._container, self._receive, self._clock = state, container, receive, clock

    async def take_back(self) -> int:
        """Take back what lies in Event Grid's dead-letter container; how many events that was. Old dead letters are forgotten.

        A blob that fails stays and does not keep the others back; its error is raised in the end.
        """
        taken, failures = 0, list[Exception]()
        for name in await self._container.names(MOST_BLOBS):
            try:
                taken += await self._take_blob(name)
            except Exception as error:  # kept until the others were tried, then raised
                failures.append(error)
        if await self._state.claim("dead letters forgotten", self._clock.now(), _PRUNE_EVERY):
            await self._state.forget_dead_letters(self._clock.now())
        if failures:
            raise failures[0]
        return taken

    async def _take_blob(self, name: str) -> int:
        blob = await self._container.read(name)
        if blob is None:
            return 0
        payload = blob.content.decode("utf-8", "replace")
        try:
            document = parse(payload)
        except DecodeError:
            # The straight path keeps it as a dead letter itself, and looks into what it might concern
            await self._receive(payload)
            document = []
        events = document if isinstance(document, list) else [document]
        for each in events:
            await self._take(_returned(each, self._clock.now()))
        await self._container.delete(blob)
        log.warning("events that Event Grid could not deliver were taken back", extra={"blob": name, "events": len(events)})
        return len(events)

    async def poisoned(self, message: str) -> None:
        """Take an event from the poison queue: five tries failed, and this is one more."""
        now = self._clock.now()
        log.error("an event failed for good and is tried once more")
        await self._take(_Returned(payload=message, event_id="poison", reason="five deliveries from the queue failed", at=now))

    async def _take(self, event: _Returned) -> None:
        # Recorded first: should taking it fail again and again, it is known all the same
        body = {"at": event.at.isoformat(), "error": event.reason, "payload": kept(event.payload)}
        await self._state.dead_letter(event.at, event.event_id, body)
        await self._receive(event.payload)


def _returned(event: object, now: datetime) -> _Returned:
    told: Members = members(event) or {}
    given_up = instant(told.get("lastdeliveryattempttime")) or instant(told.get("publishtime"))
    # A time that is far off would be forgotten at once, or never
    at = given_up if given_up is not None and abs(now - given_up) < _LATE else now
    return _Returned(
        payload=json.dumps(event),
        event_id=text(told.get("id")) or fingerprint(event)[:32],
        reason=_reason(told),
        at=at,
    )


def _reason(told: Mapping[str, object]) -> str:
    why = text(told.get("deadletterreason")) or "no reason given"
    outcome = text(told.get("lastdeliveryoutcome"))
    attempts = told.get("deliveryattempts")
    last = f", last answer {outcome}" if outcome else ""
    count = f" after {attempts} attempts" if isinstance(attempts, int) and not isinstance(attempts, bool) else ""
    return f"Event Grid could not deliver it: {why}{count}{last}"
