"""Alerts from their outboxes to their sinks: each sink gets every alert at least once, in order, and none waits for another.

INVARIANT (record, then deliver): what leaves an outbox was accepted by its sink, or was refused for what it holds and is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from logging import getLogger

from keydrift.outbox import Outbox, OutboxName, PendingAlert
from keydrift.ports import Clock, DeliveryError, RowSink
from keydrift.state import State

log = getLogger(__name__)

# What was refused for what it holds is tried again now and then: a repaired rule, or a newer release of it, may take it
REJECTED_TRIED_EVERY = timedelta(days=1)
# How long a sink is left alone after so many failures in a row: a recheck does not wait for one that hangs, and with the timer's
# two minutes tries stay within ten minutes of each other (formats)
PAUSES = (timedelta(), timedelta(), timedelta(), timedelta(seconds=230), timedelta(seconds=470))


class Deliverer:
    """Sends what waits. `sinks` has one for each outbox of the state."""

    def __init__(self, *, memory: State, sinks: Mapping[OutboxName, RowSink], clock: Clock) -> None:
        assert {each.name for each in memory.outboxes} <= set(sinks), "an outbox without a sink would only grow"
        self._memory, self._sinks, self._clock = memory, sinks, clock
        # In memory: another process finds out by itself, and a new one tries at once
        self._failures: dict[OutboxName, tuple[int, datetime]] = {}

    async def deliver_for(self, binding_ids: Iterable[str]) -> None:
        """Deliver what these bindings have pending."""
        ids = tuple(dict.fromkeys(binding_ids))

        async def some(outbox: Outbox) -> None:
            if self._is_left_alone(outbox.name):
                return
            await self._deliver(outbox, [alert for each in ids for alert in await outbox.pending_of(each)])

        if ids:
            await _all_of(some(each) for each in self._memory.outboxes)

    async def deliver_all(self) -> None:
        """Deliver everything that is pending, for as long as it takes, except to a sink that keeps failing and is left alone just
        now; once a day what was refused for good is tried again."""

        async def everything(outbox: Outbox) -> None:
            if self._is_left_alone(outbox.name):
                return
            await self._deliver(outbox, await outbox.pending())
            await outbox.forget_stale_marks(self._clock.now())
            if await self._memory.claim(f"rejected {outbox.name}", self._clock.now(), REJECTED_TRIED_EVERY):
                await self._retry_rejected(outbox)

        await _all_of(everything(each) for each in self._memory.outboxes)

    async def _deliver(self, outbox: Outbox, pending: Sequence[PendingAlert]) -> None:
        """Deliver alerts, then forget them. What is not accepted stays pending for the timer."""
        waiting = tuple(pending)
        while waiting:
            refusal = await self._send(outbox, [alert.row for alert in waiting])
            accepted = len(waiting) if refusal is None else refusal.accepted
            await outbox.settle(waiting[:accepted])
            waiting = waiting[accepted:]
            if refusal is None or not waiting:
                return
            extra = {"outbox": str(outbox.name), "alerts": len(waiting), "reason": str(refusal)}
            if not refusal.for_good:
                log.warning("alerts were not accepted and will be sent again", extra=extra)
                return
            log.error("an alert was refused for what it holds and is kept aside", extra={**extra, "alerts": 1})
            await outbox.reject(waiting[0], str(refusal), self._clock.now())
            waiting = waiting[1:]

    async def _retry_rejected(self, outbox: Outbox) -> None:
        for alert in await outbox.rejected():
            refusal = await self._send(outbox, [alert.row])
            if refusal is None:
                await outbox.forget_rejected(alert)
            elif not refusal.for_good:
                return

    async def _send(self, outbox: Outbox, rows: Sequence[Mapping[str, object]]) -> DeliveryError | None:
        try:
            await self._sinks[outbox.name].send(rows)
        except DeliveryError as error:
            if not error.for_good:
                self._failures[outbox.name] = self._failures.get(outbox.name, (0,))[0] + 1, self._clock.now()
                return error
            refusal: DeliveryError | None = error
        else:
            refusal = None
        self._failures.pop(outbox.name, None)
        return refusal

    def _is_left_alone(self, sink: OutboxName) -> bool:
        failures, at = self._failures.get(sink, (0, None))
        return at is not None and self._clock.now() - at < PAUSES[min(failures, len(PAUSES) - 1)]


async def _all_of(works: Iterable[Coroutine[object, object, None]]) -> None:
    """Let each end before an error of one is raised: what fails for one sink does not stop another's delivery."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
